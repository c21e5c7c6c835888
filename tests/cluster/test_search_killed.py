"""SIGKILL of the driver while it fetches and processes the results of a search."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from tests.chaos.run_processes import assert_all_gone, scratch, start_run
from tests.demo_media import needs_weights
from tests.mien_command import mien
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
from tests.youtube.video_kinds import TALK_SECONDS, make_talk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_killed_searches_lose_and_repeat_nothing(tmp_path: Path) -> None:
    needs_weights()
    seed = random.randrange(1 << 30)
    print(f"{seed = }")  # shown where the test fails
    rng = random.Random(seed)
    films = [make_talk(tmp_path / "films", number) for number in range(6)]
    videos = [
        Video(id=f"kill-{number}_____", media=film, duration_seconds=TALK_SECONDS, fault=Fault.MEDIA_SLOW)
        for number, film in enumerate(films)
    ]
    videos.append(Video(id="kill-privat", fault=Fault.PRIVATE))
    total = sum(film.stat().st_size for film in films)
    whole = {film.read_bytes() for film in films}
    fetched: dict[str, int] = {}
    """For each video recorded as fetched, the number of requests for it so far."""
    with YouTubeDouble(videos, password=PASSWORD) as youtube, scratch() as tmp:
        configure(tmp_path, youtube, "north", format="18")
        assert mien("search", QUERIES[0], folder=tmp_path).returncode == 0
        # Twice during downloads, on processes and on Ray, and once after them.
        rounds = ((rng.uniform(0.05, 0.45), ("--only", "fetch")), (rng.uniform(0.5, 0.95), ()), (1.0, ()))
        for share, options in rounds:
            driver = start_run(tmp_path, tmp, *options)
            while driver.poll() is None and sum(youtube.bytes_sent.values()) < share * total:
                time.sleep(0.01)
            if share == 1.0:
                time.sleep(rng.uniform(0.0, 20.0))
            driver.kill()
            driver.communicate()
            assert_all_gone(tmp)
            for path in (tmp_path / "store" / "cache").glob("*"):
                assert not path.is_file() or path.suffix or path.name == ".lock" or path.read_bytes() in whole
            for video in videos:
                history = mien_json(tmp_path, "explain", "--json", "--", f"youtube-{video.id}")
                asked = len(youtube.asked(video_id=video.id))
                assert fetched.get(video.id, asked) == asked, f"{video.id} was fetched twice"
                if history["media"] is not None or history["state"] == "failed":
                    fetched[video.id] = asked
        done = mien("run", "--json", folder=tmp_path)
        assert done.returncode == EXIT_WITH_FAILURES, done.stderr
        for video_id, asked in fetched.items():
            assert len(youtube.asked(video_id=video_id)) == asked
    assert json.loads(done.stdout)["videos"] | {"done": 6, "failed": 1} == json.loads(done.stdout)["videos"]
    assert set(samples_of(tmp_path)) == {video.id for video in videos[:-1]}
    assert mien("verify", folder=tmp_path).returncode == 0
    assert_no_secret(tmp_path, done)
