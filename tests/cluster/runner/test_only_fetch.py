"""Runs that only fetch, and the number of parallel downloads."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from mien.cluster.runner.catalog_additions import add
from mien.cluster.runner.run import run
from mien.ingest.catalog import Catalog
from tests.demo_media import needs_weights
from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.mien_command import mien, settings_in
from tests.sync_films import make_sync_film

FLAGS = ("fetch.allow_private_addresses=true", "fetch.attempts=1")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    needs_weights()  # their hashes are part of what a run is
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=2.0)
    return path.read_bytes()


def no_ray(*_: object) -> None:
    raise AssertionError("to fetch on this machine takes no Ray")


@pytest.mark.slow
@pytest.mark.parametrize("local", [True, False])
def test_media_are_validated_and_wait(
    film: bytes, tmp_path: Path, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.cluster.engine.backends.ray_session.RaySession.__enter__", no_ray)
    with LoopbackServer() as server:
        names = {"a": film, "b": film + b"\0\0\0\x08free", "c": film, "d": b"<html></html>" * 500}
        server.pages = {f"/{name}.mp4": [Reply(body=body)] for name, body in names.items()}
        settings = settings_in(tmp_path, *FLAGS)
        add(settings, [server.url(f"/{name}.mp4") for name in (*names, "e")])
        for _ in range(2):
            status = run(settings, local=local, only_fetch=True).status
            counted = {state: count for state, count in status.videos.items() if count}
            assert counted == {"waiting": 2, "failed": 2, "duplicate": 1}
            assert status.video_errors == {"NotMediaError": 1, "GoneError": 1}
            assert status.segments == {"done": 0, "failed": 0}
            assert status.live_runs == []
        asked = [request.path for request in server.requests]
        assert len(asked) == len(set(asked)) == 5
    with Catalog.open(settings.store.catalog_url) as catalog:
        history = catalog.explain("http-a")
        assert history is not None
        assert history.media is not None
    # The server is stopped: the next run reads the media from the cache.
    done = run(settings_in(tmp_path, *FLAGS, "clip.require=speech"), local=True).status
    assert done.videos["done"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["fetch.cache_max_bytes", "acquire.media_budget_bytes"])
def test_full_cache_pauses_fetching(
    film: bytes, tmp_path: Path, limit: str, run_log: pytest.LogCaptureFixture
) -> None:
    """A later run frees space: each video is fetched once, and all are done."""
    names = [f"film-{number}" for number in range(7)]
    budget = int(3.5 * len(film))
    flags = (*FLAGS, f"{limit}={budget}", "clip.require=speech")
    with LoopbackServer() as server:
        server.pages = {
            f"/{name}.mp4": [Reply(body=film + b"\0\0\0\x09free" + bytes([number]))]
            for number, name in enumerate(names)
        }
        settings = settings_in(tmp_path, *flags)
        add(settings, [server.url(f"/{name}.mp4") for name in names])
        cache = tmp_path / "cache"
        for _ in range(2):
            status = run(settings, local=True, only_fetch=True).status
            assert 3 <= status.fetched <= 4
            assert status.videos["waiting"] == len(names)
            assert [line for line in run_log.messages if "fetching stops" in line]
            held = {path: path.stat().st_ino for path in cache.glob("*.mp4")}
            assert len(held) == status.fetched
            for path in held:  # older than any grace
                os.utime(path, (time.time() - 1e6, path.stat().st_mtime))
        assert all(path.stat().st_ino == inode for path, inode in held.items())
        done = run(settings, local=True).status
        assert done.videos["done"] == len(names)
        assert done.video_errors == {}
        whole = [request.path for request in server.requests]
        fetched_first = {path for path in set(whole) if whole.count(path) == 1}
        assert len(fetched_first) >= 3, "what was fetched is not fetched again"
    assert [path for path in cache.iterdir() if path.suffix == ".mp4"] == []


@pytest.mark.slow
def test_only_fetch_on_the_engine_through_the_command(film: bytes, tmp_path: Path) -> None:
    with LoopbackServer() as server:
        server.pages = {f"/{n}.mp4": [Reply(body=film + bytes(n))] for n in range(1, 6)}
        (tmp_path / "list.txt").write_text("".join(f"{server.url(path)}\n" for path in server.pages))
        assert mien("add", "list.txt", folder=tmp_path).returncode == 0
        flags = [part for flag in FLAGS for part in ("--set", flag)]
        done = mien("run", "--only", "fetch", "--json", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["videos"]["waiting"] == 5
    assert facts["media_seconds"] == pytest.approx(10.0, abs=0.5)
    assert facts["shards"] == 0


def test_many_workers_only_for_downloads(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with Catalog.open(settings.store.catalog_url) as catalog:
        add(settings, [str(tmp_path / "a.mp4")])
        assert not catalog.has_waiting("http", "object")
        add(settings, ["https://example.org/a.mp4"])
        assert catalog.has_waiting("http", "object")
