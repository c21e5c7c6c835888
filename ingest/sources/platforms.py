"""Videos, channels, playlists and searches of the video platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mien.ingest.errors import MienError
from mien.ingest.media import VideoRef
from mien.ingest.platforms.platform import Lister, Platform
from mien.ingest.rate.identity import DIRECT
from mien.ingest.sources.skipped import Skipped

ListerOf = Callable[[Platform], Lister]


def direct_lister(platform: Platform) -> Lister:
    """Lists directly, without cookies or budgets."""
    return platform.lister(identities=(DIRECT,), ytdlp_options={}, timeout_seconds=30.0)


class PlatformSource:
    """`lister_of` makes the lister on first use. Nothing is requested for a single named video."""

    def __init__(self, platform: Platform, lister_of: ListerOf = direct_lister) -> None:
        self.platform = platform
        self._lister_of = lister_of
        self._lister: Lister | None = None

    def accepts(self, argument: str) -> bool:
        return self.platform.accepts(argument)

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        address = self.platform.parse(argument)
        if self._lister is None:
            self._lister = self._lister_of(self.platform)
        try:
            yield from self.platform.find(self._lister, address, left_out=skipped.left_out)
        except MienError as error:
            if error.exit_code == 2:
                raise
            skipped.errors.append(error)
