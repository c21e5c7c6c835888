"""Failed videos are tried again with growing delays, and given up after five attempts."""

from __future__ import annotations

import pytest

from mien.cluster.engine import ErrorInfo
from mien.cluster.runner.retry_policy import MAX_RETRY_AFTER_SECONDS, plan_retry
from mien.ingest.errors import Policy


def failure(
    policy: Policy = Policy.RETRY, *, error_class: str = "ExtractorError", retry_after: float | None = None
) -> ErrorInfo:
    return ErrorInfo(error_class=error_class, text="", policy=policy, retry_after_seconds=retry_after)


@pytest.mark.parametrize(("attempts", "delay"), [(0, 30), (1, 120), (2, 480), (3, 1920)])
def test_delay_grows_fourfold(attempts: int, delay: float) -> None:
    found = plan_retry(failure(), attempts=attempts, backoff_seconds=30, now=1000)
    assert found == (Policy.RETRY, 1000 + delay)


def test_fifth_attempt_is_the_last() -> None:
    assert plan_retry(failure(), attempts=4, backoff_seconds=30, now=0) == (Policy.PERMANENT, None)


def test_permanent_errors_are_not_retried() -> None:
    found = plan_retry(failure(Policy.PERMANENT), attempts=0, backoff_seconds=30, now=0)
    assert found == (Policy.PERMANENT, None)


def test_server_may_ask_for_more_time() -> None:
    assert plan_retry(failure(retry_after=500), attempts=0, backoff_seconds=30, now=0)[1] == 500
    assert plan_retry(failure(retry_after=5), attempts=0, backoff_seconds=30, now=0)[1] == 30
    longest = plan_retry(failure(retry_after=1e12), attempts=0, backoff_seconds=30, now=0)[1]
    assert longest == MAX_RETRY_AFTER_SECONDS


def test_premieres_wait_without_an_attempt() -> None:
    premiere = failure(Policy.PERMANENT, error_class="PremiereError", retry_after=3600)
    assert plan_retry(premiere, attempts=4, backoff_seconds=30, now=0) == (Policy.STOP, 3600)
