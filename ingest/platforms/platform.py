"""What a video platform must provide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mien.ingest.errors import MienError
from mien.ingest.media import SearchFilter, VideoRef
from mien.ingest.platforms.acceptance import AcceptancePolicy, VideoMetadata
from mien.ingest.platforms.page_budget import PageBudget
from mien.ingest.rate.identity import Identity

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile

NO_FILTER = SearchFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Something on a platform that stands for videos."""

    kind: Literal["video", "list", "search"]
    name: str
    """The id of a video, the words of a search, or the name of a list."""
    url: str
    """Its canonical URL; for a search, the URL of its results without filters."""
    limit: int | None = None
    """The number of results that the address itself asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A completed download."""

    metadata: VideoMetadata
    requests: int
    bytes: int
    """Received from the network: more than the file if a part came twice, less if a download was resumed."""


class Lister(Protocol):
    """Reads search results, channels and playlists page by page, within the budgets of the identities."""

    identities: tuple[Identity, ...]
    requests: Counter[str]
    """The number of requests so far, by identity."""

    def entries(self, url: str, *, name: str = "") -> Iterator[dict[str, Any]]: ...


class Downloader(Protocol):
    def download(self, video: VideoRef, identity: Identity, partial: PartialFile) -> Delivered:
        """Fills `partial` with the media. Errors carry `usage_requests` and `usage_bytes`."""
        ...


class Platform(Protocol):
    name: str
    """`VideoRef.source`: letters and digits only."""
    title: str
    """For messages."""
    probe_address: str
    """Host and port whose proxy `mien doctor` checks; "" if the platform is many sites."""
    needs_javascript: bool
    """Whether yt-dlp needs a JavaScript runtime for it."""
    cookie_domains: tuple[str, ...]
    """Domains, with their subdomains, whose cookies it uses; empty: any domain."""
    login_cookies: tuple[str, ...]
    """Names of the cookies that hold a login; if there are any, the others may expire."""
    examples: tuple[str, ...]
    """Addresses that it accepts, for help texts and the contract test."""
    videos_per_hour: int
    """The default budget of an identity; 0 is no limit."""

    def accepts(self, argument: str) -> bool:
        """Whether `argument` is an address of this platform, judged by its form; nothing is requested."""
        ...

    def parse(self, argument: str) -> Address:
        """Raises UsageError if `argument` stands for no videos."""
        ...

    def search(self, words: str) -> Address | None:
        """The address of a search for `words`; None if the platform has no search."""
        ...

    def lister(
        self,
        *,
        identities: tuple[Identity, ...],
        ytdlp_options: Mapping[str, Any],
        timeout_seconds: float,
        page_budget: PageBudget | None = None,
        allow_private_addresses: bool = False,
    ) -> Lister: ...

    def find(
        self,
        lister: Lister,
        address: Address,
        *,
        search_filter: SearchFilter = NO_FILTER,
        limit: int | None = None,
        newest_first: bool = False,
        left_out: Counter[str] | None = None,
    ) -> Iterator[VideoRef]:
        """The videos of `address` that pass `search_filter` as far as a list shows, each once, in its order.

        `limit` counts the videos that are yielded; `left_out` counts the others by reason. Pages are
        requested as needed. Raises FetchError after everything that was found has been yielded.
        """
        ...

    def downloader(
        self,
        *,
        ytdlp_options: Mapping[str, Any],
        policy: AcceptancePolicy,
        timeout_seconds: float,
        max_bytes: int | None = None,
        allow_private_addresses: bool = False,
    ) -> Downloader: ...

    def classify(self, error: BaseException, *, name: str, warnings: Sequence[str] = ()) -> MienError:
        """The error class for something that the platform, its library or the network answered."""
        ...
