"""Videos of a platform, and egress identities that fetch them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mien.ingest.catalog import Catalog, Outcome, Usage, VideoFailure
from mien.ingest.errors import Policy
from mien.ingest.media import Job, VideoRef
from mien.ingest.rate.identity import Identity
from tests.ingest.catalog.makers import Clock, video_failure

A, B = Identity("a", videos_per_hour=300), Identity("b", videos_per_hour=300)
FREE = Identity("free", videos_per_hour=0)
HAD = Usage(outcome=Outcome.SUCCEEDED, requests=5, bytes=1000)
REFUSED = Usage(outcome=Outcome.REFUSED, error_class="BotWallError", error_text="not a bot?")


def tube(name: str, *, query: str = "q") -> VideoRef:
    uri = f"https://www.youtube.com/watch?v={name}"
    return VideoRef(source="youtube", id=name, uri=uri, query=query)


def tubes(count: int, *, query: str = "q") -> list[VideoRef]:
    return [tube(f"{query}{number:05d}-_", query=query) for number in range(count)]


def ask(
    catalog: Catalog, run_id: str, identities: Sequence[Identity], *, limit: int = 1000, asking: int = 1000
) -> list[Job]:
    return catalog.claim(run_id, limit=limit, identities=identities, asking=asking)


def until_asked(
    catalog: Catalog, clock: Clock, run_id: str, identities: Sequence[Identity], *, seconds: float = 4e5
) -> list[Job]:
    """Sleeps until the times that the catalog gives, until something is granted."""
    end = clock.now + seconds
    while clock.now < end:
        if jobs := ask(catalog, run_id, identities, limit=1):
            return jobs
        due, _ = catalog.rate_limited_at(fingerprint="f1", identities=identities)
        assert due is not None
        clock.sleep(max(0.001, due - clock.now))
        catalog.heartbeat(run_id)
    return []


def put_off(job: Job, again: float, *, policy: Policy = Policy.STOP) -> VideoFailure:
    failure = video_failure("x", error_class="BotWallError", policy=policy, again=again)
    return replace(failure, key=job.key)
