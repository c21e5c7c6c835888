"""Every second of a segment has one fate, and clips hold what was required."""

from __future__ import annotations

import io
import json

import numpy as np
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.pipelines.align.stage import Align
from mien.pipelines.annotators import ANNOTATORS
from mien.pipelines.annotators.stage import Annotate
from mien.pipelines.data import ROW_HZ, SOUND_HZ, FaceTrack, Segment, SegmentDone, Transcript, Word
from mien.pipelines.samples.stage import MakeSamples
from mien.pipelines.shards.verify import check_sample
from mien.pipelines.stage import ClipSettings, InOneWorker, StageContext
from tests.hypothesis_examples import examples
from tests.pipelines.builders import blank_crop, media_file


def track(
    index: int, first: int, visible: np.ndarray, motion: float, shots: np.ndarray | None = None
) -> FaceTrack:
    count = visible.size
    hidden = ~visible
    boxes = np.tile(np.array([10, 10, 90, 110], np.float32), (count, 1))
    boxes[hidden] = np.nan
    landmarks = np.zeros((count, 5, 2), np.float32)
    landmarks[hidden] = np.nan
    return FaceTrack(
        index=index,
        first_row=first,
        visible=visible,
        shots=np.where(visible, 0 if shots is None else shots, -1).astype(np.int16),
        boxes=boxes,
        landmarks=landmarks,
        scores=np.where(visible, 0.8, np.nan).astype(np.float32),
        source_seconds=np.where(visible, (first + np.arange(count)) / ROW_HZ, np.nan),
        crops=tuple(blank_crop() if seen else b"" for seen in visible),
        blur=np.where(visible, 100.0, np.nan).astype(np.float32),
        embedding=None,
        measures={"speaking": np.where(visible, motion, np.nan).astype(np.float32)[:, None]},
    )


def segment(
    start_row: int,
    rows: int,
    *,
    tracks: tuple[FaceTrack, ...],
    speech: list[tuple[float, float]],
    words: list[Word],
) -> Segment:
    start, seconds = start_row / ROW_HZ, rows / ROW_HZ
    rng = np.random.default_rng(0)
    return Segment(
        media=media_file(seconds=start + seconds),
        start=start,
        end=start + seconds,
        sound=rng.integers(-3000, 3000, round(seconds * SOUND_HZ)).astype(np.int16),
        speech=tuple(speech),
        tracks=tracks,
        transcript=Transcript(language="en", language_probability=0.9, words=tuple(words)),
    )


def talk(start: float, end: float) -> list[Word]:
    return [
        Word(text=f"w{n}", start=start + n * 0.4, end=start + n * 0.4 + 0.35, probability=0.9)
        for n in range(int((end - start) / 0.4))
    ]


def align(item: Segment, **fields: object) -> SegmentDone:
    clip = {name: fields.pop(name) for name in Align.clip_settings if name in fields}
    align = Align(**fields)  # type: ignore[arg-type]
    annotators = tuple(kind() for kind in ANNOTATORS.values())
    stage = InOneWorker(Annotate(annotators), align, MakeSamples(), main=align)
    stage.setup(
        StageContext(
            clip=ClipSettings(**clip),  # type: ignore[arg-type]
            max_pause_seconds=align.max_pause_seconds,
            annotators=annotators,
            fingerprint="0123",
        )
    )
    (done,) = list(stage(item))
    assert isinstance(done, SegmentDone)
    return done


def test_talking_face_becomes_one_aligned_clip() -> None:
    seen = np.ones(250, bool)
    item = segment(100, 250, tracks=(track(0, 100, seen, 5.0),), speech=[(4.5, 13.5)], words=talk(4.6, 13.4))
    done = align(item, speaking_threshold=0.0)
    (sample,) = done.samples
    meta = json.loads(sample.members["json"])
    sound, rate = soundfile.read(io.BytesIO(sample.members["flac"]), dtype="int16")
    assert rate == SOUND_HZ
    assert sound.size == meta["rows"] * SOUND_HZ // ROW_HZ
    offset = round((meta["start_seconds"] - item.start) * SOUND_HZ)
    assert item.sound is not None
    assert np.array_equal(sound, item.sound[offset : offset + sound.size])
    times = np.load(io.BytesIO(sample.members["times.npy"]))
    assert np.allclose(times, meta["start_seconds"] + np.arange(meta["rows"]) / ROW_HZ)
    assert list(check_sample(sample.members)) == []
    assert [w["text"] for w in meta["words"]] == [w.text for w in talk(4.6, 13.4)]


def test_still_face_with_voice_is_not_speaking() -> None:
    seen = np.ones(250, bool)
    item = segment(0, 250, tracks=(track(0, 0, seen, 0.0),), speech=[(0.5, 9.5)], words=talk(0.6, 9.4))
    done = align(item)
    assert done.samples == ()
    assert done.final
    assert done.seconds_by_fate["not_speaking"] > 8


def test_gap_in_face_track_ends_the_clip() -> None:
    seen = np.ones(250, bool)
    seen[120:150] = False
    item = segment(0, 250, tracks=(track(0, 0, seen, 5.0),), speech=[(0.0, 10.0)], words=talk(0.0, 10.0))
    done = align(item, speaking_threshold=0.0)
    metas = [json.loads(sample.members["json"]) for sample in done.samples]
    assert [round(m["start_seconds"]) for m in metas] == [0, 6]
    assert all(m["face"]["coverage"] == 1.0 for m in metas)
    assert abs(done.seconds_by_fate["no_face"] - 1.2) < 1e-9


def test_a_shot_cut_ends_the_clip() -> None:
    seen = np.ones(250, bool)
    shots = np.repeat([0, 1], 125)
    item = segment(
        0, 250, tracks=(track(0, 0, seen, 5.0, shots),), speech=[(0.0, 10.0)], words=talk(0.0, 10.0)
    )
    metas = [json.loads(sample.members["json"]) for sample in align(item, speaking_threshold=0.0).samples]
    assert len(metas) == 2
    assert metas[0]["end_seconds"] <= 5.0 <= metas[1]["start_seconds"]


def test_faces_alone_need_no_speech() -> None:
    seen = np.ones(500, bool)
    item = segment(0, 500, tracks=(track(0, 0, seen, 0.0),), speech=[], words=[])
    done = align(item, require=("face",))
    assert [len(np.load(io.BytesIO(s.members["times.npy"]))) for s in done.samples] == [250, 250]
    assert done.seconds_by_fate == {"kept": 20.0}


def test_speech_alone_needs_no_face() -> None:
    item = segment(0, 500, tracks=(), speech=[(0.0, 8.0), (12.0, 20.0)], words=[*talk(0, 8), *talk(12, 20)])
    done = align(item, require=("speech",))
    assert len(done.samples) == 2
    assert all("faces.jpg" not in s.members and "flac" in s.members for s in done.samples)


@settings(max_examples=examples(60), deadline=None)
@given(
    start=st.integers(0, 5000),
    rows=st.integers(1, 900),
    visible=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 300)), max_size=4),
    spoken=st.lists(st.tuples(st.floats(0, 36), st.floats(0, 20)), max_size=4),
    motion=st.sampled_from([0.0, 0.3, 5.0]),
    require=st.sampled_from([("speech",), ("face",), ("speech", "face")]),
    tail=st.floats(0, 0.0399),
)
def test_every_second_has_one_fate(
    start: int,
    rows: int,
    visible: list[tuple[int, int]],
    spoken: list[tuple[float, float]],
    motion: float,
    require: tuple[str, ...],
    tail: float,
) -> None:
    masks = []
    for first, count in visible:
        mask = np.zeros(rows, bool)
        mask[first : first + count] = True
        masks.append(mask)
    tracks = tuple(track(n, start, mask, motion) for n, mask in enumerate(masks))
    origin = start / ROW_HZ
    end = origin + rows / ROW_HZ
    speech: list[tuple[float, float]] = []
    now = origin
    for gap, length in spoken:
        low, high = now + gap, min(end, now + gap + length)
        if low < high:
            speech.append((low, high))
            now = high
    item = segment(
        start, rows, tracks=tracks, speech=speech, words=[w for a, b in speech for w in talk(a, b)]
    )
    if tail < item.seconds:
        import dataclasses

        item = dataclasses.replace(item, end=item.end - tail)
    done = align(item, require=require)
    assert abs(sum(done.seconds_by_fate.values()) - item.seconds) < 1e-6
    assert all(amount >= 0 for amount in done.seconds_by_fate.values())
    keys = [sample.key for sample in done.samples]
    assert len(set(keys)) == len(keys)
    for sample in done.samples:
        assert list(check_sample(sample.members)) == []
        meta = json.loads(sample.members["json"])
        assert 25 <= meta["rows"] <= 375
        assert meta["start_seconds"] >= origin - 1e-9
