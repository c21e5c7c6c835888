"""What becomes of fetched media once its video is through: kept, or its room given back.

    always      a copy is published to the media store as soon as the file is proven, and read from there ever
                after; the copy in the node's cache goes when the video is done
    until_done  the copy in the node's cache stays while the video waits for another try, also in a later run,
                and goes when it is done or has failed for good
    never       the copy in the node's cache goes as soon as the run lets go of the video, done or not

A copy in the cache of another machine cannot be reached from here: it goes when that cache needs the room.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from ingest.catalog import Catalog
from ingest.fetch import Fetch
from ingest.media import MediaFile

TIDY_SECONDS = 5.0
_OVER = frozenset({"done", "partial", "failed"})

Keep = Literal["always", "until_done", "never"]


class FetchedMedia:
    """The media of the videos that this run is at work on."""

    def __init__(
        self,
        catalog: Catalog,
        run_id: str,
        fetch: Fetch,
        keep: Keep,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog, self._run_id, self._fetch, self._keep, self._clock = (
            catalog,
            run_id,
            fetch,
            keep,
            clock,
        )
        self._here: dict[str, MediaFile] = {}
        self._tidy_at = 0.0

    def came(self, media: MediaFile) -> None:
        self._here[media.key] = media
        if media.kept_uri:
            self._catalog.record_kept(self._run_id, media.key, media.kept_uri)

    def tidy(self) -> None:
        """Gives back the room of those that are through; cheap when called often."""
        now = self._clock()
        if now < self._tidy_at or not self._here:
            return
        self._tidy_at = now + TIDY_SECONDS
        self.release()

    def release(self, *, closing: bool = False) -> None:
        """`closing`: the run lets go of those, too, that it is still at work on."""
        for key, state in self._catalog.states(self._here).items():
            if state == "running" and not closing:
                continue
            media = self._here.pop(key)
            if self._keep == "never" or state in _OVER:
                self._fetch.release(media)
