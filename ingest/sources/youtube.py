"""Videos, shorts, channels, playlists and searches of YouTube."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mien.ingest.errors import MienError
from mien.ingest.media import VideoRef
from mien.ingest.sources.tally import Tally
from mien.ingest.youtube.address import is_youtube, parse

if TYPE_CHECKING:
    from mien.ingest.youtube.lists import Lister


class YouTubeSource:
    """`lister` asks for lists; a video that is named is not asked for. None: directly, as nobody."""

    def __init__(self, lister: Lister | None = None) -> None:
        self.lister = lister

    def accepts(self, argument: str) -> bool:
        return is_youtube(argument)

    def expand(self, argument: str, tally: Tally, extensions: frozenset[str]) -> Iterator[VideoRef]:
        # They import much, and files of this package.
        from mien.ingest.youtube.lists import Lister
        from mien.ingest.youtube.search import find

        address = parse(argument)
        if self.lister is None:
            self.lister = Lister()
        try:
            yield from find(self.lister, address, left_out=tally.left_out)
        except MienError as error:
            if error.exit_code == 2:
                raise
            tally.errors.append(error)
