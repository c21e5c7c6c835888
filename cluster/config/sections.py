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
class Store:
    """Where everything lies. What is empty is found below `root`."""

    root: str = "mien-store"
    """A folder on a local disk."""
    catalog: str = ""
    """SQLAlchemy URL; empty: SQLite, `catalog.sqlite` in root."""
    shards: str = ""
    """Folder or object store URI; empty: `shards` in root."""
    cache: str = ""
    """Folder of fetched media on each node; empty: `cache` in root."""

    @property
    def catalog_url(self) -> str:
        # Absolute, here and below: workers start in folders of their own.
        path = f"{Path(self.root).absolute()}/catalog.sqlite"
        return self.catalog or f"sqlite:///{path.replace('%', '%25').replace('?', '%3F')}"

    @property
    def catalog_file(self) -> Path | None:
        """None where the catalog is a server's."""
        kind, _, path = self.catalog_url.partition(":///")
        return Path(unquote(path.partition("?")[0])) if kind == "sqlite" else None

    @property
    def shards_uri(self) -> str:
        return self.shards or str(Path(self.root).absolute() / "shards")

    @property
    def cache_folder(self) -> str:
        return self.cache or str(Path(self.root).absolute() / "cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The cluster, and how patient to be with it. None: what the machine or the cluster has."""

    address: str = ""
    """Of a running Ray cluster; empty: one is started on this machine."""
    cpus: Positive | None = None
    memory_mb: Positive | None = None
    """That an item may take of a worker, whatever the stage; None: what each stage asks for."""
    object_store_bytes: Positive | None = None
    max_attempts: Positive = 3
    """Tries of an item whose worker died or was late, before it is given up."""
    workers: dict[str, Positive] = field(default_factory=dict)
    """Pool size by stage, as {faces = 2}; a stage that is not named gets what fits. Where all workers of a
    stage hang (none on a GPU), one process more than this stands in for them until they are back."""
    deadline_base_seconds: PositiveSeconds = 60.0
    deadline_per_second: NotNegative = 10.0
    """Seconds that a call may take more for each second of media."""
    lease_seconds: Annotated[float, Ge(1)] = 60.0
    """A run that has not been heard of for so long is taken to be dead, and its videos go to another."""
    catalog_wait_seconds: NotNegative = 300.0
    """A catalog's server that goes away during a run (a restart, a failover) is waited for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsChoice:
    """Which model files may be used, and where they lie."""

    licence: Literal["any", "permissive"] = "any"
    """"permissive" refuses research-only weights."""
    dir: str = ""
    """Folder of the files; empty: the user's cache directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquire:
    """How platforms are asked for videos, through which identities, and what is kept of them."""

    identities: tuple[Identity, ...] = (DIRECT,)
    """Tables [[acquire.identities]]; each with budgets of its own."""
    ytdlp_options: dict[str, Any] = field(default_factory=dict)
    """Passed on to yt-dlp as they are, over what mien sets."""
    format: str = ""
    """yt-dlp's format selector; empty: mien's own."""
    licence: Literal["any", "cc"] = "any"
    """"cc" takes only what is published under a Creative Commons licence."""
    max_age_limit: Annotated[int, Ge(0)] | None = None
    """Videos for older viewers than this are refused; None: no limit."""
    after: str = ""
    """YYYY-MM-DD: what was published before is not searched for; empty: no limit."""
    keep_media: Literal["always", "until_done", "never"] = "until_done"
    """always: a copy goes to media_uri, and is read ever after instead of asking again. until_done: the cache
    holds it until its video is done or has failed for good. never: until a run lets go of the video, at its
    end or before another try. No sooner: faces are read from the file until the last segment."""
    media_uri: str = ""
    """Folder or object store URI of kept media; empty: `media` in store.root."""
    media_budget_bytes: Annotated[int, Ge(0)] = 0
    """Fetching pauses while fetched media takes more than this, what is being fetched at that moment aside;
    0: no limit but the cache's, fetch.cache_max_bytes, where it pauses as well."""
    retry_seconds: PositiveSeconds = 30.0
    """Before what failed is fetched again; four times as long each further time, five times in all."""
    wait: bool = True
    """Whether a run stays while all that is left waits for a budget or a paused identity."""

    def __post_init__(self) -> None:
        names = [identity.name for identity in self.identities]
        if not names:
            raise ValueError("identities is empty; leave it out for a direct connection")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two identities are called {twice[0]}; rename one")
