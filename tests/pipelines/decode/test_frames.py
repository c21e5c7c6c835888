"""Any partition of a file into touching spans yields exactly the frames of one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.ingest.errors import CorruptMediaError, NoVideoStreamError, TruncatedMediaError
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.decode.frames import Frame, FrameReader
from tests.hostile_files import RECIPES
from tests.noise_films import write_noise
from tests.sync_films import make_sync_film

JOB = Job(video=VideoRef(source="folder", id="x", uri="x"))
FILMS = [
    ("mp4", True, True),
    ("mkv", True, True),
    ("mov", False, False),
    ("webm", True, False),
    ("ts", False, True),
    ("ts", True, True),
    ("mpg", False, True),
    ("mpg", True, False),
    ("avi", False, False),
]


def probed(path: Path) -> MediaFile:
    return probe(str(path), job=JOB, sha256="", bytes=path.stat().st_size)


def digest(frame: Frame) -> tuple[float, str]:
    return frame.seconds, hashlib.sha256(frame.picture.to_ndarray().tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frames")


@cache
def film(folder: Path, container: str, vfr: bool, bframes: bool) -> tuple[MediaFile, list[tuple[float, str]]]:
    path = folder / f"{container}{vfr}{bframes}.{container}"
    offset = 0.0 if container == "avi" else 0.31
    make_sync_film(
        path,
        container=container,
        vfr=vfr,
        bframes=bframes,
        video_offset=offset,
        seconds=9.0,
        width=64,
        height=48,
    )
    media = probed(path)
    return media, [digest(frame) for frame in FrameReader(media).frames(-1.0, media.duration_seconds + 1.0)]


cuts = st.lists(st.floats(0.0, 9.5), max_size=6)


@pytest.mark.parametrize("kind", FILMS, ids=str)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=cuts, on_frames=st.lists(st.integers(0, 224), max_size=3), threads=st.sampled_from([1, 3]))
def test_touching_spans_yield_the_frames_of_one_pass(
    folder: Path, kind: tuple[str, bool, bool], cuts: list[float], on_frames: list[int], threads: int
) -> None:
    media, whole = film(folder, *kind)
    edges = sorted(
        {-1.0, *cuts, *(whole[n % len(whole)][0] for n in on_frames), media.duration_seconds + 1.0}
    )
    reader = FrameReader(media, threads=threads)
    pieces = [[digest(frame) for frame in reader.frames(start, end)] for start, end in pairwise(edges)]
    reader.close()
    assert [frame for piece in pieces for frame in piece] == whole
    for piece, (start, end) in zip(pieces, pairwise(edges), strict=True):
        assert all(start <= seconds < end for seconds, _ in piece)


@pytest.mark.parametrize("kind", FILMS, ids=str)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.lists(st.tuples(st.floats(0.0, 9.5), st.floats(0.0, 4.0)), min_size=1, max_size=5))
def test_spans_in_any_order_yield_their_frames(
    folder: Path, kind: tuple[str, bool, bool], spans: list[tuple[float, float]]
) -> None:
    media, whole = film(folder, *kind)
    reader = FrameReader(media)
    for start, length in spans:
        read = [digest(frame) for frame in reader.frames(start, start + length)]
        assert read == [frame for frame in whole if start <= frame[0] < start + length]
    reader.close()


def test_abandoned_span_does_not_affect_the_next(folder: Path) -> None:
    media, whole = film(folder, "mp4", True, True)
    reader = FrameReader(media)
    abandoned = reader.frames(1.0, 5.0)
    assert isinstance(abandoned, Generator)
    next(abandoned)
    abandoned.close()
    assert [digest(frame) for frame in reader.frames(1.0, 5.0)] == [one for one in whole if 1 <= one[0] < 5]


def test_damage_fails_only_its_own_span(tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    next(recipe for recipe in RECIPES if recipe.name == "damaged video").make(path)
    media = probed(path)
    reader = FrameReader(media)
    assert len(list(reader.frames(0.0, 0.4))) == 10
    with pytest.raises(CorruptMediaError):
        list(reader.frames(0.4, 1.5))
    assert len(list(reader.frames(1.56, 2.0))) == 11


def test_early_end_raises_truncated_error(tmp_path: Path) -> None:
    long, short = tmp_path / "long.mp4", tmp_path / "short.mp4"
    write_noise(long, frames=200, seconds=8.0)
    write_noise(short, frames=50)
    media = probed(long)
    long.write_bytes(short.read_bytes())
    with pytest.raises(TruncatedMediaError):
        list(FrameReader(media).frames(0.0, 8.0))


def test_rejects_file_without_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    write_noise(path, video=None)
    with pytest.raises(NoVideoStreamError):
        FrameReader(probed(path))
