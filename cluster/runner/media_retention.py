"""What becomes of fetched media once its video is through: kept, or its room given back.

    always      a copy is published to the media store as soon as the file is proven, and read from there ever
                after; the copy in the node's cache goes when the video is done
    until_done  the copy in the node's cache stays while the video waits for another try, also in a later run,
                and goes when it is done or has failed for good
    never       the copy in the node's cache goes as soon as the run lets go of the video, done or not; what a
                killed run left is the next one's to take up

"Done" is the end of the video: its faces are read from the file until its last segment. What goes does so
within seconds, or when the last who reads it is through, and takes its room till then.

No cache evicts what a video wants that is not done (ingest/fetch/pins.py): fetching pauses instead. What is
wanted is known, and renewed, by the driver for its own machine. A copy in the cache of another machine cannot
be reached from here: it is wanted for a day after it was last read, and goes when that cache needs the room.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from mien.ingest.catalog import Catalog
from mien.ingest.fetch import Fetch, pins
from mien.ingest.media import MediaFile
from mien.ingest.sources.naming import local_path

TIDY_SECONDS = 5.0
RENEW_SECONDS = 3600.0
_OVER = frozenset({"done", "partial", "failed"})

Keep = Literal["always", "until_done", "never"]


class MediaRetention:
    """The media of the videos that this run is at work on."""

    def __init__(
        self,
        catalog: Catalog,
        run_id: str,
        fetch: Fetch,
        keep: Keep,
        *,
        only_fetch: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog, self._run_id, self._fetch, self._keep, self._clock = (
            catalog,
            run_id,
            fetch,
            keep,
            clock,
        )
        self._only_fetch = only_fetch
        self._here: dict[str, MediaFile] = {}
        self._tidy_at = 0.0
        self._renew_at = clock() + RENEW_SECONDS
        # The path, and not the cache: of films that lie here nothing is cached, and no folder is made.
        self._sizes = pins.Sizes(Path(fetch.cache_dir), clock=clock)

    def renew(self) -> None:
        """What earlier runs left in this machine's cache stays wanted, or goes if it is done by now."""
        cached = self._fetch.cached()
        for key, state in self._catalog.states(cached).items():
            if state not in _OVER:
                pins.renew(cached[key])
            elif key not in self._here:
                self._fetch.cache.release(cached[key])

    def has_room(self) -> bool:
        """Whether this machine's cache has room for one more as large as the largest that is wanted; True as
        well where nothing is at work that would make room."""
        if not self._here:
            return True
        sizes = self._sizes.now()
        return sum(sizes) + max(sizes, default=0) <= self._fetch.cache_max_bytes

    def came(self, media: MediaFile) -> None:
        self._here[media.key] = media
        if media.retained_uri:
            self._catalog.record_retained(self._run_id, media.key, media.retained_uri)
            if self._only_fetch:  # whoever goes on with it reads the copy that is kept
                self._fetch.release(self._here.pop(media.key))

    def tidy(self) -> None:
        """Gives back the room of those that are through; cheap when called often."""
        now = self._clock()
        if now >= self._renew_at:
            self._renew_at = now + RENEW_SECONDS
            self.renew()
        if now < self._tidy_at or not self._here:
            return
        self._tidy_at = now + TIDY_SECONDS
        self.release()

    def release(self, *, closing: bool = False) -> None:
        """`closing`: the run lets go of those, too, that it is still at work on."""
        for key, state in self._catalog.states(self._here).items():
            if state == "running" and not closing:
                continue
            is_over = self._keep == "never" or state in _OVER
            if not is_over or self._let_go(self._here[key]) or closing:
                del self._here[key]

    def _let_go(self, media: MediaFile) -> bool:
        """False where a segment of a video that was let go is still read: it goes when that is through.
        Forgotten, it would stay wanted and take its room."""
        self._fetch.release(media)
        if local_path(media.job.video.uri) is not None:
            return True
        return not (self._fetch.cache.holds(media.path) and Path(media.path).exists())
