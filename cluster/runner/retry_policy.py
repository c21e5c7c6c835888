"""When a failed video is tried again, and after how many attempts it is given up."""

from __future__ import annotations

from mien.cluster.engine import ErrorInfo
from mien.ingest.errors import Policy, PremiereError

MAX_VIDEO_ATTEMPTS = 5
BACKOFF_SECONDS = 30.0
MAX_BACKOFF_SECONDS = 6 * 3600.0
MAX_RETRY_AFTER_SECONDS = 30 * 24 * 3600.0
"""The longest wait that a server can demand."""


def plan_retry(
    error: ErrorInfo, *, attempts: int, backoff_seconds: float, now: float
) -> tuple[Policy, float | None]:
    """The policy for a video that failed with `error` after `attempts` earlier attempts, and its next try.

    The delay is `backoff_seconds`, four times as long after each attempt, and at least what the server asked
    for. Policy.STOP means that the video waits and no attempt is counted, as before a premiere. The time is
    None if the failure is permanent.
    """
    requested_seconds = min(error.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)
    if error.error_class == PremiereError.__name__ and requested_seconds:
        return Policy.STOP, now + requested_seconds
    if error.policy == Policy.RETRY and attempts + 1 < MAX_VIDEO_ATTEMPTS:
        wait_seconds = min(backoff_seconds * 4**attempts, MAX_BACKOFF_SECONDS)
        return Policy.RETRY, now + max(wait_seconds, requested_seconds)
    return Policy.PERMANENT, None
