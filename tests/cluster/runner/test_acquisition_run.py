"""Whole runs against the YouTube double: refused, resumed, retained, and never downloaded twice."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.cluster.config import Settings, load
from mien.cluster.runner.run import RunResult, run
from mien.ingest.catalog import Catalog
from mien.ingest.media import VideoRef
from mien.ingest.rate.circuit import FIRST_COOLDOWN_SECONDS
from tests.ingest.platforms.youtube.fetching import EXTRACTOR_ARGS
from tests.mien_command import mien, start_mien
from tests.sync_films import make_sync_film
from tests.youtube import Fault, Video, YouTubeDouble

IDS = [f"aaaaaaaaa-{number}" for number in range(4)]
SECONDS = 2.0
LEASE_SECONDS = 8
"""Long enough for a busy machine."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("double") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=SECONDS)
    return path


@pytest.fixture
def youtube(film: Path) -> Iterator[YouTubeDouble]:
    videos = [Video(id=video_id, media=film, duration_seconds=SECONDS) for video_id in IDS]
    with YouTubeDouble(videos) as double:
        yield double


def configure(folder: Path, youtube: YouTubeDouble, *names: str, **acquire: object) -> Path:
    path = folder / "mien.toml"
    options = {"nocheckcertificate": True, "extractor_args": EXTRACTOR_ARGS}
    lines = [
        "[store]",
        f"root = {json.dumps(str(folder / 'store'))}",
        "[fetch]",
        'duplicates = "keep"',  # one film stands for all of them
        "[acquire]",
        f"ytdlp_options = {_inline(options)}",
        *(f"{name} = {json.dumps(value)}" for name, value in acquire.items()),
    ]
    for name in names:
        lines += ["[[acquire.identities]]", f'name = "{name}"', f'proxy = "{youtube.proxy_of(name)}"']
    path.write_text("\n".join(lines))
    return path


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_inline(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


def settings_of(path: Path) -> Settings:
    return load(file=path, environment={}).settings


def fetch_all(settings: Settings, ids: list[str] = IDS) -> RunResult:
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        catalog.add(
            VideoRef(source="youtube", id=each, uri=f"https://www.youtube.com/watch?v={each}", query="q")
            for each in ids
        )
    return run(settings, local=True, only_fetch=True)


def empty_cache(folder: Path) -> None:
    for path in (folder / "store" / "cache").iterdir():
        if path.name != ".lock":
            path.unlink()


@pytest.mark.slow
def test_bot_wall_pauses_one_identity_only(youtube: YouTubeDouble, tmp_path: Path) -> None:
    settings = settings_of(configure(tmp_path, youtube, "home", "away", wait=False))
    youtube.fault(Fault.BOT_WALL, times=1)
    result = fetch_all(settings)
    assert result.status.fetched == 4
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        paused = [
            state for state in catalog.egress(settings.acquire.identities, "youtube") if state.paused_until
        ]
    assert len(paused) == 1
    assert paused[0].error_class == "BotWallError"
    (refused,) = {request.identity for request in youtube.asked("/player")[:1]}
    assert paused[0].name == refused
    # yt-dlp may make several requests for this one video, but none follow it.
    mine = [at for at, request in enumerate(youtube.requests) if request.identity == refused]
    others = [at for at, request in enumerate(youtube.requests) if request.identity != refused]
    assert max(mine) < min(others)


@pytest.mark.slow
def test_bot_wall_for_all_ends_run_without_loss(youtube: YouTubeDouble, tmp_path: Path) -> None:
    path = configure(tmp_path, youtube, "home", wait=False)
    settings = settings_of(path)
    youtube.fault(Fault.BOT_WALL)
    began = time.time()
    result = fetch_all(settings)
    assert (result.status.fetched, result.status.videos["waiting"]) == (0, 4)
    asked = len(youtube.requests)
    again = run(settings, local=True, only_fetch=True)
    assert (again.status.fetched, len(youtube.requests)) == (0, asked)
    output = mien("status", "--config", str(path), "--json", folder=tmp_path)
    acquisition = json.loads(output.stdout)["acquisition"]
    [identity] = acquisition["identities"]
    assert identity["paused_until"] >= began + FIRST_COOLDOWN_SECONDS
    assert acquisition["waiting"]["for_a_platform"] == 4
    assert acquisition["hours_left"] > 0
    shown = mien("status", "--config", str(path), folder=tmp_path).stdout
    assert re.search(r"identity  home on youtube: 1/300 videos.*paused until .*BotWallError", shown)
    history = mien("explain", IDS[0], "--config", str(path), folder=tmp_path).stdout
    assert "through home" in history
    assert "home on youtube until" in history
    assert "secret" not in output.stdout + shown + history  # the proxy's password
    youtube.heal()
    assert mien("retry", "--identity", "home", "--config", str(path), folder=tmp_path).returncode == 0
    assert mien("retry", "--identity", "home", "--config", str(path), folder=tmp_path).returncode == 2
    assert run(settings, local=True, only_fetch=True).status.fetched == 4


@pytest.mark.slow
def test_retained_media_is_not_refetched(youtube: YouTubeDouble, tmp_path: Path) -> None:
    settings = settings_of(configure(tmp_path, youtube, "home", keep_media="always", wait=False))
    result = fetch_all(settings)
    assert (result.status.fetched, result.status.retained) == (4, 4)
    kept = sorted(path.name for path in (tmp_path / "store" / "media").iterdir())
    assert [name for name in kept if name.endswith(".mp4")] == [f"youtube-{each}.mp4" for each in IDS]
    empty_cache(tmp_path)
    asked = len(youtube.requests)
    again = run(settings, local=True, only_fetch=True)
    assert (again.status.retained, len(youtube.requests)) == (4, asked)
    # After a kill between publishing and recording, the copy is found by its name.
    (tmp_path / "store" / "catalog.sqlite").unlink()
    empty_cache(tmp_path)
    assert fetch_all(settings).status.retained == 4
    assert len(youtube.requests) == asked
    # A missing copy is fetched again.
    (tmp_path / "store" / "media" / f"youtube-{IDS[0]}.mp4").unlink()
    empty_cache(tmp_path)
    assert run(settings, local=True, only_fetch=True).status.retained == 4
    assert {request.video_id for request in youtube.requests[asked:] if request.video_id} == {IDS[0]}


@pytest.mark.slow
def test_broken_copy_is_deleted(youtube: YouTubeDouble, tmp_path: Path) -> None:
    settings = settings_of(configure(tmp_path, youtube, "home", keep_media="always", wait=False))
    fetch_all(settings, IDS[:1])
    empty_cache(tmp_path)
    copy = tmp_path / "store" / "media" / f"youtube-{IDS[0]}.mp4"
    copy.unlink()
    copy.write_bytes(b"<html>no film</html>" * 1000)
    result = run(settings, local=True, only_fetch=True)
    assert result.status.retained == 1
    assert copy.read_bytes() != b"<html>no film</html>" * 1000


@pytest.mark.slow
def test_never_deletes_media_after_the_run(youtube: YouTubeDouble, tmp_path: Path) -> None:
    """Cache space is freed: at once after a permanent failure, and at the end of the run."""
    settings = settings_of(configure(tmp_path, youtube, "home", keep_media="never", wait=False))
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        catalog.add([VideoRef(source="youtube", id=IDS[0], uri="https://www.youtube.com/watch?v=" + IDS[0])])
    result = run(settings, local=True)
    assert result.status.fetched == 1
    assert {path.name for path in (tmp_path / "store" / "cache").iterdir()} <= {".lock"}


@pytest.mark.slow
def test_waiting_run_keeps_lease_and_obeys_signal(youtube: YouTubeDouble, tmp_path: Path) -> None:
    path = configure(tmp_path, youtube, "home")
    settings = settings_of(path)
    youtube.fault(Fault.BOT_WALL)
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        catalog.add([VideoRef(source="youtube", id=IDS[0], uri="https://www.youtube.com/watch?v=" + IDS[0])])
        waiting = start_mien(
            "run", "--local", "--only", "fetch", "--config", str(path),
            "--set", f"engine.lease_seconds={LEASE_SECONDS}", folder=tmp_path,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not catalog.egress(settings.acquire.identities, "youtube")[0].paused_until:
            assert time.monotonic() < deadline
            assert waiting.poll() is None
            time.sleep(0.1)
        asked = len(youtube.requests)
        then = time.time() + LEASE_SECONDS
        with Catalog.open(settings.store.catalog_url, clock=lambda: then) as later:
            while not later.live_runs():  # until it has renewed it while it waits
                assert time.monotonic() < deadline
                assert waiting.poll() is None
                time.sleep(0.1)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(120) == 130
        assert catalog.live_runs() == []
    assert len(youtube.requests) == asked
