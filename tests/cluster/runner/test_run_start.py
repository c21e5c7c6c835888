"""The checks before a run starts: proxies, cookies and storage, if videos of a platform are waiting."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import pytest

from mien.cluster.config import load
from mien.cluster.runner.run import run
from mien.ingest.catalog import Catalog
from mien.ingest.errors import ConfigError
from mien.ingest.media import VideoRef
from tests.mien_command import mien

PASSWORD = "geheim-1234"  # noqa: S105


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def configured(folder: Path, port: int, *refs: VideoRef) -> Path:
    path = folder / "mien.toml"
    path.write_text(
        f"""
        [store]
        root = {json.dumps(str(folder / "store"))}
        [acquire.ytdlp_options.extractor_args.youtube]
        player_skip = ["js"]
        [[acquire.identities]]
        name = "away"
        proxy = "http://me:{PASSWORD}@127.0.0.1:{port}"
        """
    )
    settings = load(file=path, environment={}).settings
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        catalog.add(refs)
    return path


TUBE = VideoRef(source="youtube", id="aaaaaaaaaa1", uri="https://www.youtube.com/watch?v=aaaaaaaaaa1")
FILE = VideoRef(source="http", id="film", uri="https://example.org/film.mp4")


@pytest.mark.slow
@pytest.mark.parametrize(
    "video", [TUBE, pytest.param(FILE, marks=pytest.mark.slow)], ids=["platform", "plain"]
)
def test_dead_proxy_stops_the_run_at_start(tmp_path: Path, closed_port: int, video: VideoRef) -> None:
    configured(tmp_path, closed_port, video)
    done = mien("run", "--local", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mien: proxy away: http://127.0.0.1:")
    assert "correct the proxy of identity away" in done.stderr
    assert done.stderr.count("\n") == 1
    assert PASSWORD not in done.stderr
    with contextlib.closing(Catalog.open(f"sqlite:///{tmp_path}/store/catalog.sqlite")) as catalog:
        history = catalog.explain(video.key)
        assert history is not None
        assert (history.state, history.attempts, history.error_class) == ("waiting", 0, None)
        assert catalog.live_runs() == []


def test_proxies_are_unused_without_platform_videos(tmp_path: Path, closed_port: int) -> None:
    film = VideoRef(source="file", id="none", uri=str(tmp_path / "none.mp4"))
    settings = load(file=configured(tmp_path, closed_port, film), environment={}).settings
    assert run(settings, local=True, only_fetch=True).status.videos["failed"] == 1


def test_only_fetch_checks_proxies_too(tmp_path: Path, closed_port: int) -> None:
    settings = load(file=configured(tmp_path, closed_port, TUBE), environment={}).settings
    with pytest.raises(ConfigError, match="does not work"):
        run(settings, local=True, only_fetch=True)
