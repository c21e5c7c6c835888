"""Segments touch, end in pauses, know their speech to the sample, and stand where the file breaks later."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import mien.pipelines.speech.split as split_module
from mien.ingest.errors import ConfigError, CorruptMediaError
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.data import ROW_HZ, SOUND_HZ, Int16, Segment, SegmentDone, SegmentFailed
from mien.pipelines.decode.sound import SoundStream
from mien.pipelines.speech.split import Split
from mien.pipelines.stage import ClipSettings, StageContext
from tests.demo_media import demo_clip, needs_weights
from tests.pipelines.builders import media_file


def talk() -> Int16:
    needs_weights()
    job = Job(video=VideoRef(source="file", id="t", uri="t"))
    media = probe(str(demo_clip("talks.mp4")), job=job, sha256="", bytes=0)
    return np.concatenate(list(SoundStream(media)))


class Sounding:
    """Stands for SoundStream over a sound that is given, and may break off."""

    def __init__(self, sound: Int16, breaks_at: float | None = None, block_seconds: float = 7.3) -> None:
        self.sound, self.breaks_at, self.block = sound, breaks_at, round(block_seconds * SOUND_HZ)

    def __call__(self, _: MediaFile) -> Iterator[Int16]:
        for start in range(0, len(self.sound), self.block):
            if self.breaks_at is not None and start / SOUND_HZ >= self.breaks_at:
                raise CorruptMediaError("the sound is damaged here")
            yield self.sound[start : start + self.block]


def split(
    sound: Int16,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stream: Sounding | None = None,
    require: Any = ("speech", "face"),
) -> list[Segment | SegmentDone | SegmentFailed]:
    monkeypatch.setattr(split_module, "SoundStream", stream or Sounding(sound))
    stage = Split(min_seconds=12.0, target_seconds=20.0, max_seconds=25.0)
    stage.setup(StageContext(clip=ClipSettings(require=require)))
    return list(stage(media_file(seconds=len(sound) / SOUND_HZ)))


def test_segments_touch_and_carry_their_own_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(talk(), 9)[: round(83.33 * SOUND_HZ)]
    found = split(sound, monkeypatch)
    assert len(found) >= 4
    at = 0.0
    for segment in found:
        assert isinstance(segment, Segment) and segment.sound is not None
        assert segment.start == pytest.approx(at, abs=1e-9)
        assert segment.start * ROW_HZ == pytest.approx(round(segment.start * ROW_HZ), abs=1e-6)
        begin = round(segment.start * SOUND_HZ)
        np.testing.assert_array_equal(segment.sound, sound[begin : begin + len(segment.sound)])
        assert not any(a < segment.end < b for a, b in segment.speech)
        at = segment.end
    assert at == len(sound) / SOUND_HZ


def test_speech_has_the_same_times_however_the_file_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(talk(), 6)
    monkeypatch.setattr(split_module, "SoundStream", Sounding(sound))
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


def test_segments_before_a_damage_stand_and_the_rest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(talk(), 9)
    *whole, rest = split(sound, monkeypatch, stream=Sounding(sound, breaks_at=70.0))
    assert len(whole) >= 2
    assert all(isinstance(segment, Segment) for segment in whole)
    assert isinstance(rest, SegmentFailed)
    assert (rest.error_class, rest.start_ms) == ("CorruptMediaError", round(whole[-1].end * 1000))  # type: ignore[union-attr]
    assert rest.end_ms == round(len(sound) / SOUND_HZ * 1000)


def test_a_damage_before_the_first_cut_fails_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorruptMediaError):
        split(np.tile(talk(), 3), monkeypatch, stream=Sounding(np.tile(talk(), 3), breaks_at=10.0))


def test_what_is_committed_is_not_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.tile(talk(), 6)
    first, second, *others = split(sound, monkeypatch)
    assert isinstance(second, Segment)
    media = media_file(seconds=len(sound) / SOUND_HZ)
    job = dataclasses.replace(media.job, done_starts_ms=frozenset({0, second.start_ms}))
    stage = Split(min_seconds=12.0, target_seconds=20.0, max_seconds=25.0)
    stage.setup(StageContext())
    again = list(stage(dataclasses.replace(media, job=job)))
    assert [segment.key for segment in again] == [segment.key for segment in others]
    assert first.key != second.key


def test_silence_is_dropped_where_speech_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_weights()
    silence = np.zeros(60 * SOUND_HZ, np.int16)
    found = split(silence, monkeypatch)
    assert all(isinstance(done, SegmentDone) and set(done.seconds_by_fate) == {"no_speech"} for done in found)
    assert sum(done.seconds for done in found) == pytest.approx(60.0)
    assert all(isinstance(segment, Segment) for segment in split(silence, monkeypatch, require=("face",)))


@pytest.mark.parametrize(
    "fields", [{"max_seconds": 0.0}, {"min_seconds": 80.0}, {"target_seconds": 10.0}, {"threshold": 7.0}]
)
def test_lengths_that_cannot_be_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="split"):
        Split(**fields)
