"""The sections of `mien.toml` that belong to the run and not to a stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from annotated_types import Ge, Gt

from mien.ingest.rate.identity import DIRECT, Identity

Positive = Annotated[int, Gt(0)]
PositiveSeconds = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where data is stored. Each empty value has a default place below `root`."""

    root: str = "mien-store"
    """A folder on a local disk."""
    catalog: str = ""
    """SQLAlchemy URL; empty: SQLite, `catalog.sqlite` in root."""
    shards: str = ""
    """Folder or object store URI; empty: `shards` in root."""
    cache: str = ""
    """Folder for downloaded media on each node; empty: `cache` in root."""

    @property
    def catalog_url(self) -> str:
        # All paths are absolute, because workers start in other folders.
        path = f"{Path(self.root).absolute()}/catalog.sqlite"
        return self.catalog or f"sqlite:///{path.replace('%', '%25').replace('?', '%3F')}"

    @property
    def catalog_file(self) -> Path | None:
        """None if the catalog is on a database server."""
        kind, _, path = self.catalog_url.partition(":///")
        return Path(unquote(path.partition("?")[0])) if kind == "sqlite" else None

    @property
    def shards_uri(self) -> str:
        return self.shards or str(Path(self.root).absolute() / "shards")

    @property
    def cache_folder(self) -> str:
        return self.cache or str(Path(self.root).absolute() / "cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The Ray cluster, its limits and its deadlines. None: use all that the machine or cluster has."""

    address: str = ""
    """Address of a running Ray cluster; empty: start one on this machine."""
    cpus: Positive | None = None
    memory_mb: Positive | None = None
    """Memory that one item may use in a worker of any stage; None: each stage's own limit."""
    object_store_bytes: Positive | None = None
    max_attempts: Positive = 3
    """Attempts for an item whose worker dies or exceeds its deadline. After that the item fails."""
    workers: dict[str, Positive] = field(default_factory=dict)
    """Workers per stage, for example {faces = 2}; other stages get as many as fit. If all workers of a stage
    without a GPU hang, one backup worker is started."""
    deadline_base_seconds: PositiveSeconds = 60.0
    deadline_per_second: NotNegative = 10.0
    """Additional seconds per second of media."""
    lease_seconds: Annotated[float, Ge(1)] = 60.0
    """A run without a heartbeat for this long counts as dead, and other runs may claim its videos."""
    catalog_wait_seconds: NotNegative = 300.0
    """How long a run waits for a catalog server that becomes unavailable (a restart, a failover)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSettings:
    """Which model weights may be used, and where they are stored."""

    licence: Literal["any", "permissive"] = "any"
    """"permissive" refuses research-only weights."""
    dir: str = ""
    """Folder for weights; empty: the user's cache folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquireSettings:
    """How videos are downloaded from platforms, through which identities, and which copies are retained."""

    identities: tuple[Identity, ...] = (DIRECT,)
    """Tables [[acquire.identities]]. Each identity has its own budgets on each platform."""
    ytdlp_options: dict[str, Any] = field(default_factory=dict)
    """Options for yt-dlp. They override the options that mien sets."""
    format: str = ""
    """yt-dlp format selector; empty: mien's default."""
    licence: Literal["any", "cc"] = "any"
    """"cc" accepts only videos with a Creative Commons licence."""
    max_age_limit: Annotated[int, Ge(0)] | None = None
    """Videos with a higher age limit are rejected; None: no limit."""
    after: str = ""
    """YYYY-MM-DD: videos published before this date are rejected; empty: no limit."""
    keep_media: Literal["always", "until_done", "never"] = "until_done"
    """always: media_uri gets a copy, and later runs read it instead of downloading again. until_done: the
    cache holds the file until its video is done or has failed permanently. never: the file is deleted when
    the run releases the video, after success or before another attempt."""
    media_uri: str = ""
    """Folder or object store URI for retained media; empty: `media` in store.root."""
    media_budget_bytes: Annotated[int, Ge(0)] = 0
    """Downloads pause while downloaded media exceed this size. Downloads in progress do not count. 0: only
    the limit of the cache applies, fetch.cache_max_bytes, which pauses downloads too."""
    retry_seconds: PositiveSeconds = 30.0
    """Delay before the first retry of a download. Each further delay is four times as long; there are five
    attempts in total."""
    wait: bool = True
    """Whether a run waits if all remaining videos need a budget or a paused identity."""

    def __post_init__(self) -> None:
        names = [identity.name for identity in self.identities]
        if not names:
            raise ValueError("identities is empty; leave it out for a direct connection")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two identities are called {twice[0]}; rename one of them")
