"""Segments are contiguous, end in pauses on the grid, and stay valid if the file is damaged later."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien.pipelines.speech.split as split_module
from mien.ingest.errors import ConfigError, CorruptMediaError
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.data import ROW_HZ, SOUND_HZ, Int16, Segment, SegmentDone, SegmentFailed
from mien.pipelines.decode.sound import SoundStream
from mien.pipelines.speech.split import Split, choose_cut
from mien.pipelines.stage import ClipSettings, StageContext
from tests.demo_media import demo_clip, needs_weights
from tests.pipelines.builders import media_file


def recorded_speech() -> Int16:
    needs_weights()
    job = Job(video=VideoRef(source="file", id="t", uri="t"))
    media = probe(str(demo_clip("talks.mp4")), job=job, sha256="", bytes=0)
    return np.concatenate(list(SoundStream(media)))


class FakeSoundStream:
    """Replaces SoundStream: yields the given sound, and may raise an error at a given time."""

    def __init__(self, sound: Int16, damaged_at: float | None = None, block_seconds: float = 7.3) -> None:
        self.sound, self.damaged_at, self.block = sound, damaged_at, round(block_seconds * SOUND_HZ)

    def __call__(self, _: MediaFile) -> Iterator[Int16]:
        for start in range(0, len(self.sound), self.block):
            if self.damaged_at is not None and start / SOUND_HZ >= self.damaged_at:
                raise CorruptMediaError("the sound is damaged here")
            yield self.sound[start : start + self.block]


def split(
    sound: Int16,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stream: FakeSoundStream | None = None,
    require: Any = ("speech", "face"),
) -> list[Segment | SegmentDone | SegmentFailed]:
    monkeypatch.setattr(split_module, "SoundStream", stream or FakeSoundStream(sound))
    stage = Split(min_seconds=12.0, target_seconds=20.0, max_seconds=25.0)
    stage.setup(StageContext(clip=ClipSettings(require=require)))
    return list(stage(media_file(seconds=len(sound) / SOUND_HZ)))


def test_segments_are_contiguous_with_their_own_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(recorded_speech(), 9)[: round(83.33 * SOUND_HZ)]
    segments = split(sound, monkeypatch)
    assert len(segments) >= 4
    at = 0.0
    for segment in segments:
        assert isinstance(segment, Segment) and segment.sound is not None
        assert segment.start == pytest.approx(at, abs=1e-9)
        assert segment.start * ROW_HZ == pytest.approx(round(segment.start * ROW_HZ), abs=1e-6)
        begin = round(segment.start * SOUND_HZ)
        np.testing.assert_array_equal(segment.sound, sound[begin : begin + len(segment.sound)])
        assert not any(a < segment.end < b for a, b in segment.speech)
        at = segment.end
    assert at == len(sound) / SOUND_HZ


def test_speech_times_do_not_depend_on_the_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(recorded_speech(), 6)
    monkeypatch.setattr(split_module, "SoundStream", FakeSoundStream(sound))
    whole = Split(min_seconds=100, target_seconds=200, max_seconds=300)
    whole.setup(StageContext())
    (one,) = whole(media_file(seconds=len(sound) / SOUND_HZ))
    assert isinstance(one, Segment)
    edges = np.array([edge for span in one.speech for edge in span])
    for segment in split(sound, monkeypatch)[1:]:
        assert isinstance(segment, Segment)
        for start, end in segment.speech[1:-1]:
            assert np.abs(edges - start).min() < 1e-6
            assert np.abs(edges - end).min() < 1e-6


def test_segments_before_damage_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(recorded_speech(), 9)
    *whole, rest = split(sound, monkeypatch, stream=FakeSoundStream(sound, damaged_at=70.0))
    assert len(whole) >= 2
    assert all(isinstance(segment, Segment) for segment in whole)
    assert isinstance(rest, SegmentFailed)
    assert (rest.error_class, rest.start_ms) == ("CorruptMediaError", round(whole[-1].end * 1000))  # type: ignore[union-attr]
    assert rest.end_ms == round(len(sound) / SOUND_HZ * 1000)


def test_damage_before_first_cut_fails_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorruptMediaError):
        split(
            np.tile(recorded_speech(), 3),
            monkeypatch,
            stream=FakeSoundStream(np.tile(recorded_speech(), 3), damaged_at=10.0),
        )


def test_committed_segments_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(recorded_speech(), 6)
    first, second, *others = split(sound, monkeypatch)
    assert isinstance(second, Segment)
    media = media_file(seconds=len(sound) / SOUND_HZ)
    job = dataclasses.replace(media.job, done_starts_ms=frozenset({0, second.start_ms}))
    stage = Split(min_seconds=12.0, target_seconds=20.0, max_seconds=25.0)
    stage.setup(StageContext())
    rerun = list(stage(dataclasses.replace(media, job=job)))
    assert [segment.key for segment in rerun] == [segment.key for segment in others]
    assert first.key != second.key


def test_drops_silence_if_speech_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_weights()
    silence = np.zeros(60 * SOUND_HZ, np.int16)
    segments = split(silence, monkeypatch)
    assert all(
        isinstance(done, SegmentDone) and set(done.seconds_by_fate) == {"no_speech"} for done in segments
    )
    assert sum(done.seconds for done in segments) == pytest.approx(60.0)
    assert all(isinstance(segment, Segment) for segment in split(silence, monkeypatch, require=("face",)))


@pytest.mark.parametrize(
    "fields", [{"max_seconds": 0.0}, {"min_seconds": 80.0}, {"target_seconds": 10.0}, {"threshold": 7.0}]
)
def test_rejects_invalid_settings(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="split"):
        Split(**fields)


SILENCE = np.zeros(77 * SOUND_HZ, np.int16)


@given(st.lists(st.floats(0.3, 6.0), min_size=4, max_size=80), st.floats(0, 1000))
def test_cut_is_in_a_pause_on_the_grid(lengths: list[float], origin: float) -> None:
    start = round(origin * ROW_HZ) / ROW_HZ
    spans, now = [], start
    for length in lengths:
        spans.append((now, now + length))
        now += length + 0.4
    cut = choose_cut(spans, SILENCE, start=start, earliest=start + 40, latest=start + 75, target=start + 60)
    assert start + 40 - 0.02 <= cut <= start + 75 + 0.02
    assert abs(cut * ROW_HZ - round(cut * ROW_HZ)) < 1e-6
    assert not any(a < cut < b for a, b in spans)


def test_cut_without_pause_is_at_quietest_point() -> None:
    rng = np.random.default_rng(0)
    sound = rng.integers(-9000, 9000, 77 * SOUND_HZ).astype(np.int16)
    sound[int(70.0 * SOUND_HZ) : int(70.2 * SOUND_HZ)] = 0
    cut = choose_cut([(0.0, 77.0)], sound, start=0.0, earliest=40.0, latest=75.0, target=60.0)
    assert 70.0 <= cut <= 70.2
