"""What another node fetched, or what was evicted in between, is brought here before it is opened."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.ingest.errors import StorageError
from mien.ingest.fetch import Fetch
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.pipelines.data import Segment
from mien.pipelines.faces.stage import Faces
from mien.pipelines.fetch import FetchStage
from mien.pipelines.speech.split import Split
from mien.pipelines.stage import ClipSettings, StageContext
from tests.demo_media import demo_clip, needs_weights
from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.sync_films import make_sync_film

SHORT: dict[str, Any] = {"min_seconds": 5.0, "target_seconds": 6.0, "max_seconds": 8.0}


class Node:
    """A cache folder of its own, and the stages of a run there."""

    def __init__(self, folder: Path, *, keep: Path | None = None, **fetch: Any) -> None:
        self.fetch = FetchStage(
            cache_dir=str(folder),
            allow_private_addresses=True,
            attempts=1,
            keep_uri=str(keep) if keep else "",
            **fetch,
        )
        self.split: Any = Split(**SHORT)
        self.faces = Faces(detector="yunet_2023mar", identity=False)
        context = StageContext(local_media=self.fetch, clip=ClipSettings(require=("face",)))
        for stage in (self.fetch, self.split, self.faces):
            stage.setup(context)

    def films(self) -> list[str]:
        return [path.name for path in self.fetch.cache.folder.iterdir() if path.suffix == ".mp4"]


def job(uri: str) -> Job:
    return Job(video=VideoRef(source="http", id="a_video", uri=uri))


@pytest.fixture
def served(tmp_path: Path) -> Any:
    needs_weights()
    film = tmp_path / "film.mp4"
    make_sync_film(film, container="mp4", seconds=20.0)
    with LoopbackServer() as server:
        server.pages["/film.mp4"] = [Reply(body=film.read_bytes())]
        yield server


def fetched(node: Node, uri: str) -> MediaFile:
    (media,) = node.fetch(job(uri))
    return media


def test_another_node_sees_the_same(tmp_path: Path) -> None:
    """It reads the copy that is kept: what the first node had is gone, and the server as well."""
    needs_weights()
    here = Node(tmp_path / "a", keep=tmp_path / "kept")
    with LoopbackServer() as server:
        server.pages["/film.mp4"] = [Reply(body=demo_clip("talks.mp4").read_bytes())]
        media = fetched(here, server.url("/film.mp4"))
        assert len(server.requests) == 1
    segment, *_ = here.split(media)
    part = dataclasses.replace(segment, start=1.0, end=2.0)
    (expected,) = here.faces(part)
    shutil.rmtree(tmp_path / "a")

    there = Node(tmp_path / "b", keep=tmp_path / "kept")
    again, *_ = there.split(media)
    np.testing.assert_array_equal(again.sound, segment.sound)
    assert again.speech == segment.speech
    (seen,) = there.faces(dataclasses.replace(again, start=1.0, end=2.0))
    assert seen.tracks is not None and expected.tracks is not None
    assert [track.crops for track in seen.tracks] == [track.crops for track in expected.tracks] != []
    assert len(there.films()) == 1


def test_what_was_evicted_in_between_is_fetched_again(tmp_path: Path, served: LoopbackServer) -> None:
    node = Node(tmp_path / "a")
    media = fetched(node, served.url("/film.mp4"))
    for asked in (2, 3):
        node.fetch.release(media)
        assert node.films() == []
        if asked == 2:
            segment, *_ = node.split(media)
        else:
            (seen,) = node.faces(segment)
            assert seen.tracks == ()
        assert len(served.requests) == asked
        assert len(node.films()) == 1


def test_a_film_that_is_being_split_is_not_evicted(tmp_path: Path, served: LoopbackServer) -> None:
    size = len(served.pages["/film.mp4"][0].body)
    node = Node(tmp_path / "a", cache_max_bytes=size + 1000)
    node.fetch.cache.grace_seconds = 0.0
    media = fetched(node, served.url("/film.mp4"))
    segments = node.split(media)
    first = next(segments)
    served.pages["/other.mp4"] = served.pages["/film.mp4"]

    node.fetch.release(media)
    with pytest.raises(StorageError, match="full of files in use"):
        fetched(node, served.url("/other.mp4"))
    assert len(node.films()) == 1
    assert first.end < list(segments)[-1].end == media.duration_seconds

    node.fetch.release(media)
    assert node.films() == []
    fetched(node, served.url("/other.mp4"))


def test_the_film_of_the_last_segment_is_free_between_calls(tmp_path: Path, served: LoopbackServer) -> None:
    """The decoder stays open for the next segment. What it reads may be removed, and is asked for again."""
    node = Node(tmp_path / "a")
    media = fetched(node, served.url("/film.mp4"))
    one, two, *_ = (segment for segment in node.split(media) if isinstance(segment, Segment))
    list(node.faces(one))
    node.fetch.release(media)
    assert node.films() == []
    list(node.faces(two))
    assert len(node.films()) == 1
    list(node.faces(one))  # back to the beginning: from the file that was fetched again


READER = """
import pickle, sys, time
from pathlib import Path
split, context, media = pickle.loads(Path(sys.argv[1]).read_bytes())
split.setup(context)
segments = split(media)
next(segments)
print("reading", flush=True)
time.sleep(600)
"""


def test_a_killed_reader_lets_go(tmp_path: Path, served: LoopbackServer) -> None:
    node = Node(tmp_path / "a")
    media = fetched(node, served.url("/film.mp4"))
    packed = tmp_path / "stage"
    context = StageContext(local_media=Fetch(cache_dir=str(tmp_path / "a")))
    import pickle

    packed.write_bytes(pickle.dumps((Split(**SHORT), context, media)))
    root = Path(__file__).resolve().parents[2]
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(packed)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        assert not node.fetch.cache.release(Path(media.path))
        assert len(node.films()) == 1
    finally:
        reader.send_signal(signal.SIGKILL)
        reader.communicate()
    assert node.fetch.cache.release(Path(media.path))
    assert node.films() == []
