"""From a search to shards through the command line, against a YouTube double with many faults."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mien.ingest.rate.circuit import FIRST_COOLDOWN_SECONDS
from tests.demo_media import needs_weights
from tests.mien_command import mien
from tests.webdataset_samples import ReadSample
from tests.youtube import Fault, Video, YouTubeDouble
from tests.youtube.store import (
    EXIT_WITH_FAILURES,
    PASSWORD,
    QUERIES,
    assert_no_secret,
    configure,
    mien_json,
    samples_of,
)
from tests.youtube.video_kinds import TALK_SECONDS, Kind, every_kind, make_talk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

IDENTITIES = ("north", "south", "west")
RAW = {
    Fault.REMOVED: "[youtube] {}: Video unavailable. This video has been removed by the uploader",
    Fault.PRIVATE: "[youtube] {}: Private video",
    Fault.UNHEARD_OF: "[youtube] {}: The moon is in the wrong phase for this one",
    Fault.MEDIA_FORBIDDEN: "HTTP Error 403: Forbidden",
}
"""Messages of yt-dlp."""


@dataclass(frozen=True, slots=True)
class Ran:
    folder: Path
    kinds: list[Kind]
    youtube: YouTubeDouble
    searched: subprocess.CompletedProcess[str]
    done: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    asked: int
    """Requests made by the first run and the search."""
    status: dict[str, Any]
    samples: dict[str, list[ReadSample]]
    histories: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By video id, as printed by `mien explain --json`."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    needs_weights()
    folder = tmp_path_factory.mktemp("search to shards")
    kinds = every_kind(folder / "films")
    with YouTubeDouble([kind.video for kind in kinds], password=PASSWORD, page_size=10) as youtube:
        ids = [kind.video.id for kind in kinds]
        youtube.results = {QUERIES[0]: ids[:25], QUERIES[1]: ids[15:]}
        configure(folder, youtube, *IDENTITIES)
        searched = mien("search", *QUERIES, folder=folder)
        live = [kind.video.id for kind in kinds if kind.video.fault is Fault.LIVE]
        added = mien("add", *(f"https://youtu.be/{each}" for each in live), folder=folder)
        assert added.stdout == "2 new, 0 already known\n", added.stderr
        done = mien("run", "--json", folder=folder)
        asked = len(youtube.requests)
        again = mien("run", "--json", folder=folder)
        histories = {each: mien_json(folder, "explain", "--json", "--", f"youtube-{each}") for each in ids}
        yield Ran(
            folder,
            kinds,
            youtube,
            searched,
            done,
            again,
            asked,
            mien_json(folder, "status", "--json"),
            samples_of(folder),
            histories,
        )


def test_two_searches_find_all_but_live_videos(ran: Ran) -> None:
    assert len(ran.kinds) == 40
    assert (ran.searched.returncode, ran.searched.stderr) == (0, "")
    # Queries alternate, so the second query sees most of the common videos first.
    assert ran.searched.stdout.splitlines() == [
        "38 new, 0 already known",
        f"  {QUERIES[0]}: 15 new, 9 known; skipped 1 live now",
        f"  \u2068{QUERIES[1]}\u2069: 23 new, 0 known; skipped 2 live now",
    ]
    for number, kind in enumerate(ran.kinds):
        if kind.video.fault is not Fault.LIVE:
            found = zip(QUERIES, (number < 25, number >= 15), strict=True)
            assert set(ran.histories[kind.video.id]["queries"]) == {query for query, by in found if by}


def test_every_video_ends_as_its_kind_does(ran: Ran) -> None:
    assert ran.done.returncode == EXIT_WITH_FAILURES, ran.done.stderr
    seen = {}
    twice = [kind.video.id for kind in ran.kinds if kind.name == "uploaded twice"]
    assert {ran.histories[each]["state"] for each in twice} == {"done", "duplicate"}
    for kind in ran.kinds:
        history = ran.histories[kind.video.id]
        if kind.video.id not in twice:
            attempts = history["attempts"] if kind.attempts is not None else None
            seen[kind.video.id, kind.name] = (history["state"], history["error_class"] or "", attempts)
    expected = {
        (kind.video.id, kind.name): (kind.state, kind.error, kind.attempts)
        for kind in ran.kinds
        if kind.video.id not in twice
    }
    assert seen == expected


def test_status_counts_them(ran: Ran) -> None:
    states = Counter(kind.state for kind in ran.kinds)
    states["duplicate"] += 1
    states["done"] -= 1
    assert {state: count for state, count in ran.status["videos"].items() if count} == states
    errors = Counter(kind.error for kind in ran.kinds if kind.state == "failed")
    assert ran.status["retrying"] == {"PremiereError": 1}
    assert ran.status["video_errors"] == errors | {"PremiereError": 1}
    acquisition = ran.status["acquisition"]
    assert acquisition["found"] == 40
    assert acquisition["fetched"] == states["done"] + states["duplicate"]
    paused = [each for each in acquisition["identities"] if each["paused_until"] is not None]
    # A page and a media file returned 429, through one identity if both were requested at once.
    assert 1 <= len(paused) <= 2
    assert {each["error_class"] for each in paused} == {"RateLimitedError"}
    assert acquisition["waiting"]["put_off"] == 1
    assert acquisition["waiting"]["until"] > time.time() + 3600  # the premiere


def test_failures_keep_the_raw_error(ran: Ran) -> None:
    for kind in ran.kinds:
        history = ran.histories[kind.video.id]
        if kind.error:
            headline, _, raised = history["error_text"].partition("\n")
            assert kind.video.id in headline
            assert kind.error in raised
            if kind.video.fault in RAW:
                assert RAW[kind.video.fault].format(kind.video.id) in raised


def test_samples_carry_search_metadata(ran: Ran) -> None:
    talking = {kind.video.id: kind.video for kind in ran.kinds if kind.talks}
    done = {each for each in talking if ran.histories[each]["state"] == "done"}
    assert set(ran.samples) == done
    for video_id, samples in ran.samples.items():
        video = talking[video_id]
        for sample in samples:
            assert re.fullmatch(rf"youtube-{video_id}-\d{{9}}-\d{{2}}", sample.key)
            meta = sample.meta["video"]
            assert meta["source"] == "youtube"
            assert meta["url"].endswith(video_id)
            assert meta["title"] == (video.title, *video.later_titles)[-1]
            assert meta["channel"] == video.channel
            assert meta["licence"].startswith("Creative Commons") == video.creative_commons
            assert meta["query"] in QUERIES
            assert sample.meta["words"]
            assert sample.frames is not None


def test_permanent_failure_is_not_retried(ran: Ran) -> None:
    for kind in ran.kinds:
        if kind.state == "failed" and kind.attempts == 1:
            asked = [request.client for request in ran.youtube.asked("/player", video_id=kind.video.id)]
            # yt-dlp itself retries age-restricted videos as another client.
            assert len(asked) == len(set(asked)) == 1 + (kind.video.fault is Fault.AGE_GATE), kind.name
            assert not ran.youtube.asked("/videoplayback", video_id=kind.video.id), kind.name


def test_permanent_failures_have_one_attempt(ran: Ran) -> None:
    for kind in ran.kinds:
        if kind.state == "done" and kind.video.fault is None:
            assert len(ran.youtube.asked("/player", video_id=kind.video.id)) == 1, kind.name


def test_second_run_makes_no_requests(ran: Ran) -> None:
    assert ran.again.returncode == EXIT_WITH_FAILURES, ran.again.stderr
    assert ran.youtube.requests[ran.asked :] == []
    first, second = json.loads(ran.done.stdout), json.loads(ran.again.stdout)
    assert second["samples"] == first["samples"] > 0


def test_every_shard_verifies(ran: Ran) -> None:
    verified = mien("verify", folder=ran.folder)
    assert verified.returncode == 0, verified.stdout


def test_secrets_are_used_but_not_leaked(ran: Ran) -> None:
    assert any("LOGIN_INFO" in request.cookies for request in ran.youtube.asked("/player"))
    assert {request.identity for request in ran.youtube.requests} == set(IDENTITIES)
    status = mien("status", folder=ran.folder)
    shown = mien("config", "show", folder=ran.folder)
    histories = [mien("explain", "--", kind.video.id, folder=ran.folder) for kind in ran.kinds[-7:]]
    assert_no_secret(ran.folder, ran.searched, ran.done, ran.again, status, shown, *histories)


def test_other_identity_continues_after_bot_wall(tmp_path: Path) -> None:
    needs_weights()
    films = [make_talk(tmp_path / "films", number) for number in range(3)]
    videos = [
        Video(id=f"wall-{number}_____", media=film, duration_seconds=TALK_SECONDS)
        for number, film in enumerate(films)
    ]
    with YouTubeDouble(videos, password=PASSWORD) as youtube:
        configure(tmp_path, youtube, "north", "south")
        assert mien("search", QUERIES[0], folder=tmp_path).returncode == 0
        youtube.fault(Fault.BOT_WALL, times=1)
        began, start = len(youtube.requests), time.time()
        done = mien("run", "--local", "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        walled = youtube.requests[began].identity
        shown = mien("status", folder=tmp_path)
        status = mien_json(tmp_path, "status", "--json")
    states = {state["name"]: state for state in status["acquisition"]["identities"]}
    (other,) = {"north", "south"} - {walled}
    assert states[walled]["paused_until"] >= start + FIRST_COOLDOWN_SECONDS
    assert states[walled]["error_class"] == "BotWallError"
    assert states[other]["paused_until"] is None
    assert len(samples_of(tmp_path)) == len(videos)
    (line,) = [line for line in shown.stdout.splitlines() if f"identity  {walled}" in line]
    assert re.search(r"paused until \d{4}-\d\d-\d\d \d\d:\d\d \(.*\): BotWallError", line)
    after = [request.identity for request in youtube.requests[began:]]
    assert after == [walled] * after.count(walled) + [other] * after.count(other)
    assert f"identity {walled} is paused" in done.stderr
    assert_no_secret(tmp_path, done, shown)
