"""What a run asks of platforms: through which identity, when, and what becomes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from mien.cluster.engine import ErrorInfo
from mien.cluster.logs import get_logger
from mien.cluster.runner.refusal_attribution import RefusalAttribution
from mien.ingest.catalog import Catalog, Outcome, Paused, Usage
from mien.ingest.errors import CacheFullError
from mien.ingest.media import Job, MediaFile
from mien.ingest.rate.identity import Identity

_log = get_logger("mien.run")

FULL_SECONDS = 5.0
"""After the cache was full: until another video is tried. The one that found no room waits as long, longer
each time, so that those which are in the cache and will make room have their turn."""
ASK_SECONDS = 5.0
"""At the latest after so long it is looked whether others made room, or somebody added videos."""
WAIT_SECONDS = 120.0
"""A run does not end while a video is due so soon, whatever was asked for."""
LONG_WAIT_SECONDS = 6 * 3600.0
"""Nor, if it is to wait, while one that was put off is due so soon. (A premiere may be months away.)"""


class Acquisition:
    """Claims videos with grants, and settles the grants with what came of them."""

    def __init__(
        self,
        catalog: Catalog,
        run_id: str,
        *,
        fingerprint: str,
        identities: Sequence[Identity] = (),
        at_once: int = 1,
        media_budget_bytes: int = 0,
        gives_room: bool = True,
        has_room: Callable[[], bool] = lambda: True,
        wait: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`at_once`: videos that are being asked for or are the next to be: what was granted is not called
        back when its identity is paused. `gives_room`: whether media goes when its video is done; a run that
        only fetches makes no room."""
        self._catalog, self._run_id, self._fingerprint = catalog, run_id, fingerprint
        self._identities, self._at_once = tuple(identities), at_once
        self._budget_bytes, self._wait, self._clock = media_budget_bytes, wait, clock
        self._gives_room, self._has_room = gives_room, has_room
        self._refusals = RefusalAttribution(catalog, self._identities, clock=clock)
        self._asking: set[str] = set()
        """Keys of videos whose grant is not settled."""
        self._nothing_before = self._full_until = self._no_room_until = 0.0
        self._fulls = 0
        """Videos in a row that found no room."""
        self._is_over = self._is_held_back = False
        """Held back: the latest claim was for local films alone, as there was no room for others."""
        self._last_message = ""

    @property
    def is_over(self) -> bool:
        """Whether no room will come for what is still to be fetched."""
        return self._is_over

    def claim(self, limit: int) -> list[Job]:
        now = self._clock()
        self._is_held_back = not self._is_over and self._must_pause(now)
        if self._is_over or self._is_held_back:
            return self._catalog.claim(self._run_id, limit=limit, only_local=True)
        # Where the cache was full, one after the other finds out whether it still is.
        limit = 1 if self._fulls else limit
        may = self._at_once - len(self._asking) if now >= self._nothing_before else 0
        may = max(0, min(may, limit))
        identities = self._identities if may else ()
        jobs = self._catalog.claim(self._run_id, limit=limit, identities=identities, asking=may)
        granted = {job.key for job in jobs if job.identity}
        self._asking |= granted
        if identities and len(granted) < may:
            times = [at for at in self._next_times() if at is not None]
            # Others settle, people add and reopen: none of that is foreseen.
            self._nothing_before = min([now + ASK_SECONDS, *(max(at, now + 0.1) for at in times)])
        return jobs

    def _must_pause(self, now: float) -> bool:
        """Whether there is no room for what would be fetched now."""
        if now < self._full_until:
            return True
        if self._is_full():
            self._full_until = now + 1.0
            self._is_over = not self._is_room_coming()
            return True
        if not self._has_room():
            self._full_until = now + 1.0
            return True
        return False

    def is_worth_waiting(self) -> bool:
        """Whether a run that has nothing else to do gets something from a platform if it stays."""
        if self._is_over:
            return False
        # What the latest claim was, and not what the clock says by now: the catalog was asked in between.
        if self._is_held_back or self._clock() < max(self._full_until, self._no_room_until):
            return True
        due, put_off = self._next_times() if self._identities else (None, None)
        if due is None and put_off is None:
            return False
        if self._is_full():
            return self._is_room_coming()
        now = self._clock()
        for at, patience_seconds in ((due, math.inf), (put_off, LONG_WAIT_SECONDS)):
            if at is not None and at - now <= (patience_seconds if self._wait else WAIT_SECONDS):
                if at - now > WAIT_SECONDS:
                    self._log_once(f"waiting until {_when(at)} for a platform; Ctrl-C ends the run in order")
                return True
        self._log_once(f"platforms may be asked again from {_when(due or put_off or now)} on; run again then")
        return False

    def _is_room_coming(self) -> bool:
        """Of too much fetched media, what is under way goes by itself; what is kept does not."""
        room = self._catalog.media_room(with_waiting=not self._gives_room)
        staying = room.retained_bytes if self._gives_room else room.bytes
        if staying < self._budget_bytes:
            return True
        self._log_once(
            f"fetched media takes {staying:,} bytes, {self._budget_bytes:,} are allowed: nothing more is "
            "fetched; raise acquire.media_budget_bytes, or keep less"
        )
        return False

    def reported(self, job: Job, media: MediaFile) -> None:
        self._fulls = 0
        self._settle(
            job,
            Usage(
                outcome=Outcome.SUCCEEDED if media.usage_requests else Outcome.UNASKED,
                requests=media.usage_requests,
                bytes=media.usage_bytes,
            ),
        )

    def failed(self, job: Job, error: ErrorInfo) -> float | None:
        """Where the identity was refused, and not the video: when the video may be tried again."""
        paused = self._settle(
            job,
            Usage(
                outcome=Outcome.REFUSED if error.circuit else Outcome.FAILED,
                requests=error.usage_requests,
                bytes=error.usage_bytes,
                retry_after_seconds=error.retry_after_seconds,
                error_class=error.error_class,
                error_text=error.text,
            ),
        )
        if error.error_class == CacheFullError.__name__:
            return self._cache_is_full(error)
        if paused is None:
            return None
        paused_where = f"{paused.identity} is paused on {paused.platform}"
        self._log_once(f"identity {paused_where} until {_when(paused.until)}: {error.text}")
        return self._refusals.try_again_at(job.key, paused)

    def _cache_is_full(self, error: ErrorInfo) -> float:
        """What is in it is wanted, so fetching pauses: until videos are done, or in a run that does them."""
        now = self._clock()
        self._fulls += 1
        self._full_until, again_at = now + FULL_SECONDS, now + FULL_SECONDS * self._fulls
        self._no_room_until = max(self._no_room_until, again_at)
        self._is_over = not self._gives_room
        what = "`mien run` makes room" if self._is_over else "fetching goes on when videos are done"
        self._log_once(f"{error.text}; nothing more is fetched: {what}")
        return again_at

    def gone(self, job: Job) -> None:
        """Nobody will report it: it was lost on its way."""
        self._settle(job, Usage(outcome=Outcome.FAILED))

    def _settle(self, job: Job, usage: Usage) -> Paused | None:
        if job.key not in self._asking:
            return None
        self._asking.discard(job.key)
        self._nothing_before = 0.0
        return self._catalog.settle(self._run_id, job.key, usage)

    def _next_times(self) -> tuple[float | None, float | None]:
        return self._catalog.rate_limited_at(fingerprint=self._fingerprint, identities=self._identities)

    def _is_full(self) -> bool:
        if not self._budget_bytes:
            return False
        return self._catalog.media_room(with_waiting=not self._gives_room).bytes >= self._budget_bytes

    def _log_once(self, line: str) -> None:
        if line != self._last_message:
            self._last_message = line
            _log.info(line)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
