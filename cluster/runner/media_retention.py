"""What happens to fetched media when its video has ended: it is retained, or its space is freed.

    always      a copy is published to the media store as soon as the file is validated, and read from there
                from then on; the copy in the node's cache is deleted when the video is done
    until_done  the copy in the node's cache stays while the video waits for a retry, also in a later run, and
                is deleted when the video is done or has failed permanently
    never       the copy in the node's cache is deleted as soon as the run releases the video, done or
                not; the next run cleans up after a killed run

A video is done when its last segment is, because faces are read from the file until then. Deletion happens
within seconds, or when the last reader is finished; until then the file takes space.

No cache evicts media that an unfinished video needs (ingest/fetch/pins.py): fetching pauses instead. The
driver knows which media are needed on its own machine and renews their pins. It cannot reach the caches of
other machines. There, a pin lasts for a day after the last read, and unpinned media are evicted when the
cache needs space.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from mien.ingest.catalog import Catalog
from mien.ingest.fetch import Fetch, pins
from mien.ingest.media import MediaFile
from mien.ingest.naming import local_path

TIDY_SECONDS = 5.0
RENEW_SECONDS = 3600.0
_OVER = frozenset({"done", "partial", "failed"})

Keep = Literal["always", "until_done", "never"]


class MediaRetention:
    """Tracks the fetched media of this run's videos and frees their space."""

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
        self._media: dict[str, MediaFile] = {}
        self._tidy_at = 0.0
        self._renew_at = clock() + RENEW_SECONDS
        # Takes the path, not the cache: local files are not cached, so no cache folder is created for them.
        self._sizes = pins.Sizes(Path(fetch.cache_dir), clock=clock)

    def renew(self) -> None:
        """Renews the pins of media that unfinished videos need in this cache, and releases the rest."""
        cached = self._fetch.cached()
        for key, state in self._catalog.states(cached).items():
            if state not in _OVER:
                pins.renew(cached[key])
            elif key not in self._media:
                self._fetch.cache.release(cached[key])

    def has_space(self) -> bool:
        """Whether this cache has space for one more file as large as the largest pinned one.

        Also True if no video is in progress, because then waiting would not free any space.
        """
        if not self._media:
            return True
        sizes = self._sizes.now()
        return sum(sizes) + max(sizes, default=0) <= self._fetch.cache_max_bytes

    def add(self, media: MediaFile) -> None:
        self._media[media.key] = media
        if media.retained_uri:
            self._catalog.record_retained(self._run_id, media.key, media.retained_uri)
            if self._only_fetch:  # later runs read the retained copy
                self._fetch.release(self._media.pop(media.key))

    def tidy(self) -> None:
        """Frees the space of finished videos. Cheap if called often."""
        now = self._clock()
        if now >= self._renew_at:
            self._renew_at = now + RENEW_SECONDS
            self.renew()
        if now < self._tidy_at or not self._media:
            return
        self._tidy_at = now + TIDY_SECONDS
        self.release()

    def release(self, *, closing: bool = False) -> None:
        """`closing`: also release videos that the run is still working on."""
        for key, state in self._catalog.states(self._media).items():
            if state == "running" and not closing:
                continue
            is_over = self._keep == "never" or state in _OVER
            if not is_over or self._delete(self._media[key]) or closing:
                del self._media[key]

    def _delete(self, media: MediaFile) -> bool:
        """Returns False if a segment still reads the file. It must then be released again later, or it would
        stay pinned."""
        self._fetch.release(media)
        if local_path(media.job.video.uri) is not None:
            return True
        return not (self._fetch.cache.holds(media.path) and Path(media.path).exists())
