"""Claims videos within the budgets of the identities, and settles each grant with the actual usage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from mien.cluster.engine import ErrorInfo
from mien.cluster.logs import get_logger
from mien.cluster.report.formatting import format_time
from mien.cluster.runner.refusal_attribution import RefusalAttribution
from mien.ingest.catalog import Catalog, Outcome, Paused, Usage
from mien.ingest.errors import CacheFullError
from mien.ingest.media import Job, MediaFile
from mien.ingest.rate.identity import Identity

_log = get_logger("mien.run")

FULL_CACHE_PAUSE_SECONDS = 5.0
"""How long fetching pauses when the cache is full. The video that did not fit waits longer each time, so that
videos in the cache can finish first and free space."""
CLAIM_INTERVAL_SECONDS = 5.0
"""The longest time between two attempts to claim: other runs may free budgets, and people may add videos."""
WAIT_SECONDS = 120.0
"""A run always waits for a video that is due within this time."""
LONG_WAIT_SECONDS = 6 * 3600.0
"""With acquire.wait, a run waits this long for a video that is scheduled for later, such as a premiere."""


class Acquisition:
    """Claims videos for one run. Videos of platforms need a grant of an identity's budget."""

    def __init__(
        self,
        catalog: Catalog,
        run_id: str,
        *,
        fingerprint: str,
        identities: Sequence[Identity] = (),
        at_once: int = 1,
        media_budget_bytes: int = 0,
        frees_space: bool = True,
        has_space: Callable[[], bool] = lambda: True,
        wait: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`at_once`: the largest number of open grants. Grants are not revoked when their identity is paused.
        `frees_space`: whether the run deletes media of finished videos; a run that only fetches does not."""
        self._catalog, self._run_id, self._fingerprint = catalog, run_id, fingerprint
        self._identities, self._at_once = tuple(identities), at_once
        self._budget_bytes, self._wait, self._clock = media_budget_bytes, wait, clock
        self._frees_space, self._has_space = frees_space, has_space
        self._refusals = RefusalAttribution(catalog, self._identities, clock=clock)
        self._granted: set[str] = set()
        """Keys of videos whose grant is not settled yet."""
        self._next_claim_at = self._full_until = self._no_space_until = 0.0
        self._full_count = 0
        """Videos in a row that did not fit into the cache."""
        self._is_over = self._is_held_back = False
        """Held back: the latest claim was restricted to local files, for lack of space."""
        self._last_message = ""

    @property
    def is_over(self) -> bool:
        """Whether the remaining videos cannot be fetched, because no space will become free."""
        return self._is_over

    def claim(self, limit: int) -> list[Job]:
        now = self._clock()
        self._is_held_back = not self._is_over and self._must_pause(now)
        if self._is_over or self._is_held_back:
            return self._catalog.claim(self._run_id, limit=limit, only_local=True)
        # After the cache was full, fetch one video at a time until one fits.
        limit = 1 if self._full_count else limit
        may = self._at_once - len(self._granted) if now >= self._next_claim_at else 0
        may = max(0, min(may, limit))
        identities = self._identities if may else ()
        jobs = self._catalog.claim(self._run_id, limit=limit, identities=identities, asking=may)
        granted = {job.key for job in jobs if job.identity}
        self._granted |= granted
        if identities and len(granted) < may:
            times = [at for at in self._next_times() if at is not None]
            # Other runs settle grants, and people add videos and end pauses: try again soon in any case.
            self._next_claim_at = min([now + CLAIM_INTERVAL_SECONDS, *(max(at, now + 0.1) for at in times)])
        return jobs

    def _must_pause(self, now: float) -> bool:
        """Whether there is no space for another video now."""
        if now < self._full_until:
            return True
        if self._is_full():
            self._full_until = now + 1.0
            self._is_over = not self._will_space_become_free()
            return True
        if not self._has_space():
            self._full_until = now + 1.0
            return True
        return False

    def is_worth_waiting(self) -> bool:
        """Whether an otherwise idle run should wait for videos of platforms."""
        if self._is_over:
            return False
        # Decide by the latest claim: time has passed since then.
        if self._is_held_back or self._clock() < max(self._full_until, self._no_space_until):
            return True
        due, put_off = self._next_times() if self._identities else (None, None)
        if due is None and put_off is None:
            return False
        if self._is_full():
            return self._will_space_become_free()
        now = self._clock()
        for at, patience_seconds in ((due, math.inf), (put_off, LONG_WAIT_SECONDS)):
            if at is not None and at - now <= (patience_seconds if self._wait else WAIT_SECONDS):
                if at - now > WAIT_SECONDS:
                    self._log_once(
                        f"waiting for platform budgets until {format_time(at)}; press Ctrl-C to end the run"
                    )
                return True
        self._log_once(
            f"platform budgets allow no download before {format_time(due or put_off or now)}; rerun then"
        )
        return False

    def _will_space_become_free(self) -> bool:
        """Whether finished videos will free enough space. Retained media does not become free."""
        room = self._catalog.media_room(with_waiting=not self._frees_space)
        permanent = room.retained_bytes if self._frees_space else room.bytes
        if permanent < self._budget_bytes:
            return True
        self._log_once(
            f"fetched media uses {permanent:,} bytes of {self._budget_bytes:,} allowed; fetching stops; "
            "raise acquire.media_budget_bytes, or retain less media"
        )
        return False

    def reported(self, job: Job, media: MediaFile) -> None:
        self._full_count = 0
        self._settle(
            job,
            Usage(
                outcome=Outcome.SUCCEEDED if media.usage_requests else Outcome.UNASKED,
                requests=media.usage_requests,
                bytes=media.usage_bytes,
            ),
        )

    def failed(self, job: Job, error: ErrorInfo) -> float | None:
        """Returns when to retry the video if the identity was refused; None if the video itself failed."""
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
            return self._cache_is_full(job, error)
        if paused is None:
            return None
        paused_where = f"{paused.identity} is paused on {paused.platform}"
        until = format_time(paused.until)
        self._log_once(f"identity {paused_where} until {until}: {error.text}", video=job.key)
        return self._refusals.retry_at(job.key, paused)

    def _cache_is_full(self, job: Job, error: ErrorInfo) -> float:
        """Pauses fetching until videos are done, because waiting videos need everything in the cache."""
        now = self._clock()
        self._full_count += 1
        self._full_until, retry_at = (
            now + FULL_CACHE_PAUSE_SECONDS,
            now + FULL_CACHE_PAUSE_SECONDS * self._full_count,
        )
        self._no_space_until = max(self._no_space_until, retry_at)
        self._is_over = not self._frees_space
        what = "stops; `mien run` frees space" if self._is_over else "resumes when videos are done"
        self._log_once(f"{error.text}; fetching {what}", video=job.key)
        return retry_at

    def abandon(self, job: Job) -> None:
        """Settles the grant of a video whose outcome is unknown, because it was lost."""
        self._settle(job, Usage(outcome=Outcome.FAILED))

    def _settle(self, job: Job, usage: Usage) -> Paused | None:
        if job.key not in self._granted:
            return None
        self._granted.discard(job.key)
        self._next_claim_at = 0.0
        return self._catalog.settle(self._run_id, job.key, usage)

    def _next_times(self) -> tuple[float | None, float | None]:
        return self._catalog.rate_limited_at(fingerprint=self._fingerprint, identities=self._identities)

    def _is_full(self) -> bool:
        if not self._budget_bytes:
            return False
        return self._catalog.media_room(with_waiting=not self._frees_space).bytes >= self._budget_bytes

    def _log_once(self, line: str, **fields: str) -> None:
        if line != self._last_message:
            self._last_message = line
            _log.info(line, **fields)
