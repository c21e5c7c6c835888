"""Stages copy files to their node before opening them: from another node, or after eviction."""

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
    """A node with its own cache folder and stages."""

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


def test_other_node_gives_the_same_results(tmp_path: Path) -> None:
    """Another node reads the retained copy after the first node's cache and the server are gone."""
    needs_weights()
    first = Node(tmp_path / "a", keep=tmp_path / "retained")
    with LoopbackServer() as server:
        server.pages["/film.mp4"] = [Reply(body=demo_clip("talks.mp4").read_bytes())]
        media = fetched(first, server.url("/film.mp4"))
        assert len(server.requests) == 1
    segment, *_ = first.split(media)
    part = dataclasses.replace(segment, start=1.0, end=2.0)
    (expected,) = first.faces(part)
    shutil.rmtree(tmp_path / "a")

    second = Node(tmp_path / "b", keep=tmp_path / "retained")
    same, *_ = second.split(media)
    np.testing.assert_array_equal(same.sound, segment.sound)
    assert same.speech == segment.speech
    (seen,) = second.faces(dataclasses.replace(same, start=1.0, end=2.0))
    assert seen.tracks is not None and expected.tracks is not None
    assert [track.crops for track in seen.tracks] == [track.crops for track in expected.tracks] != []
    assert len(second.films()) == 1


def test_fetches_evicted_file_again(tmp_path: Path, served: LoopbackServer) -> None:
    node = Node(tmp_path / "a")
    media = fetched(node, served.url("/film.mp4"))
    for requests in (2, 3):
        node.fetch.release(media)
        assert node.films() == []
        if requests == 2:
            segment, *_ = node.split(media)
        else:
            (seen,) = node.faces(segment)
            assert seen.tracks == ()
        assert len(served.requests) == requests
        assert len(node.films()) == 1


def test_does_not_evict_file_while_splitting(tmp_path: Path, served: LoopbackServer) -> None:
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


def test_file_can_be_evicted_between_segments(tmp_path: Path, served: LoopbackServer) -> None:
    """The decoder stays open between segments. Its file may be removed, and is fetched again when needed."""
    node = Node(tmp_path / "a")
    media = fetched(node, served.url("/film.mp4"))
    one, two, *_ = (segment for segment in node.split(media) if isinstance(segment, Segment))
    list(node.faces(one))
    node.fetch.release(media)
    assert node.films() == []
    list(node.faces(two))
    assert len(node.films()) == 1
    list(node.faces(one))  # seeks to the beginning, in the file that was fetched again


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


def test_killed_process_releases_its_file(tmp_path: Path, served: LoopbackServer) -> None:
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
