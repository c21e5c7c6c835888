"""How `mien status` reports budgets, pauses and the forecast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mien.cluster.report.platform_usage import acquisition_facts, acquisition_lines, hours_left
from mien.ingest.catalog import Catalog, EgressStatus, MediaRecord, MediaRoom
from mien.ingest.media import VideoRef
from mien.ingest.rate.governor import budget
from mien.ingest.rate.identity import Identity
from tests.ingest.catalog.makers import Clock, begin
from tests.ingest.catalog.platforms import HAD, REFUSED, ask, tubes

NOW = 1_000_000.0
ROOM = MediaRoom(retained_bytes=0, under_way_bytes=0)
A, B = Identity("a", videos_per_hour=300), Identity("b", videos_per_hour=100)
IDLE = EgressStatus(
    name="a",
    platform="youtube",
    videos=0,
    lists=0,
    requests=0,
    bytes=0,
    limits=budget(A),
    in_progress=0,
    room_at=NOW,
    paused_until=None,
    strikes=0,
    mean_requests=5.0,
    mean_bytes=1e7,
    error_class="",
    error_text="",
)


@pytest.mark.parametrize(
    ("videos", "identities", "states", "hours"),
    [
        (0, [A], [IDLE], 0.0),
        (600, [A], [IDLE], 2.0),
        (800, [A, B], [IDLE, IDLE], 2.0),
        (300, [A], [replace(IDLE, paused_until=NOW + 3600)], 2.0),
        (500, [A, B], [replace(IDLE, paused_until=NOW + 3600), IDLE], 2.0),
        (50, [A, B], [replace(IDLE, paused_until=NOW + 3600), IDLE], 0.5),
        (100, [replace(A, requests_per_hour=500)], [IDLE], 1.0),
        (100, [replace(A, bytes_per_hour=10**9)], [IDLE], 1.0),
        (90, [replace(A, videos_per_hour=0)], [replace(IDLE, videos=30)], 3.0),
        (90, [replace(A, videos_per_hour=0)], [IDLE], None),
        (90, [replace(A, videos_per_hour=0)], [replace(IDLE, videos=31, lists=1)], 3.0),
        (90, [replace(A, videos_per_hour=0)], [replace(IDLE, videos=2, lists=2)], None),
    ],
)
def test_forecast_follows_the_budget(
    videos: int, identities: list[Identity], states: list[EgressStatus], hours: float | None
) -> None:
    limited = [
        replace(state, limits=budget(identity)) for identity, state in zip(identities, states, strict=True)
    ]
    assert hours_left(videos, limited, NOW) == (None if hours is None else pytest.approx(hours))


def test_status_as_lines_and_facts(tmp_path: Path) -> None:
    clock = Clock()
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as catalog:
        assert acquisition_lines(catalog.status(), ROOM, catalog.egress([A], "youtube"), clock.now) == []
        catalog.add(tubes(40))
        run_id = begin(catalog)
        one, two = ask(catalog, run_id, [A], limit=2)
        catalog.settle(run_id, one.key, HAD)
        catalog.settle(run_id, two.key, REFUSED)
        status, egress = catalog.status(), catalog.egress([A], "youtube")
        lines = "\n".join(acquisition_lines(status, ROOM, egress, clock.now))
        facts = acquisition_facts(status, ROOM, egress, clock.now)
    assert "a on youtube: 2/300 videos" in lines
    assert "paused until" in lines
    assert "BotWallError" in lines
    assert "38 videos to fetch from platforms, about" in lines
    assert facts["waiting"]["for_a_platform"] == 38
    [identity] = facts["identities"]
    assert identity["last_hour"]["videos"] == 2
    assert identity["limits_per_hour"] == {"videos": 300, "requests": None, "bytes": None}
    assert identity["paused_until"] > clock.now


def test_plain_files_show_no_platform(tmp_path: Path) -> None:
    clock = Clock()
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as catalog:
        catalog.add([VideoRef(source="http", id=name, uri=f"https://example.org/{name}") for name in "abc"])
        run_id = begin(catalog)
        for job in catalog.claim(run_id, limit=2):
            info = MediaRecord(sha256=job.key, bytes=700, duration_seconds=1.0)
            catalog.record_media(run_id, job.key, info)
        catalog.end_run(run_id, "finished")
        room, egress = catalog.media_room(with_waiting=True), catalog.egress([A], "youtube")
        lines = acquisition_lines(catalog.status(), room, egress, clock.now)
    assert lines == [
        "fetched   2 of 3 videos, 1.40 kB",
        "cached    1.40 kB of fetched media, waiting for `mien run`",
    ]


def test_fetched_waiting_videos_are_not_pending(tmp_path: Path) -> None:
    clock = Clock()
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as catalog:
        catalog.add(tubes(3))
        run_id = begin(catalog)
        for job in ask(catalog, run_id, [A], limit=2):
            catalog.settle(run_id, job.key, HAD)
            catalog.record_media(
                run_id, job.key, MediaRecord(sha256=job.key, bytes=700, duration_seconds=1.0)
            )
        catalog.end_run(run_id, "finished")
        assert catalog.grant_page(A, "youtube", is_first=True).number is not None
        asked = (catalog.media_room(with_waiting=True), catalog.egress([A], "youtube"), clock.now)
        lines = acquisition_lines(catalog.status(), *asked)
        facts = acquisition_facts(catalog.status(), *asked)
    assert "cached    1.40 kB of fetched media, waiting for `mien run`" in lines
    assert any("1 video to fetch from platforms" in line for line in lines)
    assert any("3/300 videos, including 1 for lists" in line for line in lines)
    assert facts["waiting"] == {
        "for_a_platform": 1,
        "by_platform": {"youtube": 1},
        "fetched_bytes": 1400,
        "put_off": 0,
        "until": None,
    }
