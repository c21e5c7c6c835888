"""Parallel workers share one budget and one circuit."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog
from mien.ingest.media import VideoRef
from tests.cluster.runner.test_acquisition_run import SECONDS, configure, settings_of
from tests.mien_command import start_mien
from tests.sync_films import make_sync_film
from tests.youtube import Fault, Video, YouTubeDouble

pytestmark = pytest.mark.slow
IDS = [f"bbbbbbbbb-{number}" for number in range(8)]


@pytest.fixture
def youtube(tmp_path: Path) -> Iterator[YouTubeDouble]:
    film = tmp_path / "film.mp4"
    make_sync_film(film, container="mp4", seconds=SECONDS)
    with YouTubeDouble(Video(id=each, media=film, duration_seconds=SECONDS) for each in IDS) as double:
        yield double


@contextlib.contextmanager
def running(path: Path, workers: int, until: Callable[[Catalog], bool]) -> Iterator[Catalog]:
    """Runs on Ray until the condition holds and two more seconds, then ends normally."""
    settings = settings_of(path)
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        catalog.add(
            VideoRef(source="youtube", id=each, uri=f"https://www.youtube.com/watch?v={each}") for each in IDS
        )
        flags = [f"engine.workers.fetch={workers}", "engine.cpus=1"]
        options = [word for flag in flags for word in ("--set", flag)]
        mien = start_mien("run", "--only", "fetch", "--config", path, *options, folder=path.parent)
        try:
            deadline = time.monotonic() + 180
            while not until(catalog):
                assert mien.poll() is None, mien.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            time.sleep(2)
            yield catalog
            mien.send_signal(signal.SIGINT)
            assert mien.wait(120) == 130
        finally:
            if mien.poll() is None:
                mien.kill()
            mien.wait()


def asked_videos(youtube: YouTubeDouble) -> set[str]:
    return {request.video_id for request in youtube.requests if request.video_id}


def test_many_workers_share_one_budget(youtube: YouTubeDouble, tmp_path: Path) -> None:
    path = configure(tmp_path, youtube, "home")
    # One now, and the next half an hour later.
    path.write_text(path.read_text() + "\nvideos_per_hour = 2\n")
    with running(path, 4, lambda catalog: catalog.status().fetched >= 1) as catalog:
        assert catalog.status().fetched == 1
        assert len(asked_videos(youtube)) == 1


def test_bot_wall_stops_all_workers(youtube: YouTubeDouble, tmp_path: Path) -> None:
    path = configure(tmp_path, youtube, "home")
    youtube.fault(Fault.BOT_WALL)
    identities = settings_of(path).acquire.identities
    with running(
        path, 3, lambda catalog: catalog.egress(identities, "youtube")[0].paused_until is not None
    ) as catalog:
        assert len(asked_videos(youtube)) <= 3
        assert catalog.status().videos["failed"] == 0
        assert catalog.egress(identities, "youtube")[0].strikes == 1
