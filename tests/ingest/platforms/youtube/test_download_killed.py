"""kill -9 at instants of a download: nothing is left as final, and the next run has the whole file."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mien.ingest.fetch import MediaCache
from mien.ingest.fetch.local import sha256_of
from tests.ingest.platforms.youtube.conftest import SECONDS
from tests.ingest.platforms.youtube.fetching import (
    ID,
    fetched,
    identity_through,
    names_in_cache,
    youtube_fetch,
    youtube_job,
)
from tests.sync_films import make_sync_film
from tests.youtube import Fault, Video, YouTubeDouble

CHILD = """
import sys
from pathlib import Path
from mien.ingest.rate.identity import Identity
from mien.ingest.platforms.acceptance import AcceptancePolicy
from tests.ingest.platforms.youtube.fetching import fetched, youtube_fetch, youtube_job
folder, proxy, format = sys.argv[1:]
acceptance = AcceptancePolicy(format=format)
stage = youtube_fetch(Path(folder), Identity("egress", proxy=proxy), acceptance=acceptance)
print("begins", flush=True)
fetched(stage, youtube_job())
print("done", flush=True)
"""
FREE_BYTES = 1 << 20
APART = "bv[acodec=none]+ba"


def has_media(folder: Path, youtube: YouTubeDouble) -> bool:
    with suppress(FileNotFoundError):  # renamed, when it was whole, between two looks
        parts = [path for path in folder.rglob("*.part") if path.parent.suffix == ".work"]
        return bool(youtube.bytes_sent.get(ID)) or any(path.stat().st_size for path in parts)
    return True


def killed_when(folder: Path, youtube: YouTubeDouble, selector: str, moment: str) -> str:
    """Starts a download in a process of its own and kills it; what it had printed."""
    command = [sys.executable, "-c", CHILD, str(folder), youtube.proxy_of("egress"), selector]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        while child.poll() is None:
            if youtube.asked("/player") if moment == "asked" else has_media(folder, youtube):
                break
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        assert child.stdout is not None
        return child.stdout.read()


@pytest.mark.slow
@pytest.mark.parametrize("selector", ["18", APART])
@pytest.mark.parametrize("moment", ["asked", "media"])
def test_a_kill_leaves_nothing_final(tmp_path: Path, selector: str, moment: str) -> None:
    film = tmp_path / "film.mp4"
    make_sync_film(film, container="mp4", seconds=SECONDS)
    with film.open("ab") as file:  # a box of type "free" (ISO/IEC 14496-12, 8.1.2): it takes its time
        file.write(struct.pack(">I4s", 8 + FREE_BYTES, b"free") + bytes(FREE_BYTES))
    with YouTubeDouble(
        [Video(id=ID, media=film, duration_seconds=SECONDS, fault=Fault.MEDIA_SLOW)]
    ) as youtube:
        printed = killed_when(tmp_path, youtube, selector, moment)
        cache = MediaCache(tmp_path / "cache", 1 << 30)
        if "done" not in printed:
            assert not cache.path_of(youtube_job().video.uri).exists()
        assert not list(cache.folder.glob("*.part")), "what nobody writes any more is swept"
        youtube.heal(ID)
        stage = youtube_fetch(tmp_path, identity_through(youtube))
        media = fetched(stage, youtube_job())
        asked = len(youtube.requests)
        fetched(stage, youtube_job())
        assert len(youtube.requests) == asked
    assert sha256_of(media.path)[0] == media.sha256
    assert abs(media.duration_seconds - SECONDS) < 0.2
    assert names_in_cache(stage) == {"", ".about"}


@pytest.mark.slow
def test_processes_fetch_one_video_once(tmp_path: Path, film: Path) -> None:
    with YouTubeDouble([Video(id=ID, media=film, duration_seconds=SECONDS)]) as youtube:
        command = [sys.executable, "-c", CHILD, str(tmp_path), youtube.proxy_of("egress"), "18"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        children = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)
        ]
        printed = [child.communicate(timeout=400)[0] for child in children]
        assert len(youtube.asked("/videoplayback")) == 1
    assert all("done" in text for text in printed)
