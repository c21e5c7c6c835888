"""Batches: padding, masks, the same window for all fields, and no bytes of an earlier batch."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.ingest.errors import DamagedSampleError, MissingMemberError, ShortClipError, UsageError
from mien.models.reader.data import RawSample
from mien.models.reader.fields import FIELDS, Collator, FacesField, TrackField, Window
from mien.pipelines.samples.sample import encode_npy
from tests.hypothesis_examples import examples
from tests.models.reader.fields.sample_factory import allocate, members, sample

EVERYTHING = ["faces", "audio", "text", "words", "json", "landmarks", "times"]


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_equal(values, other[name], err_msg=name)


def test_collates_whole_clips() -> None:
    batch = Collator(EVERYTHING).batch([sample(20, seed=5), sample(33, seed=6)], allocate)
    shapes = {name: values.shape for name, values in batch.items() if isinstance(values, np.ndarray)}
    assert shapes == {
        "corpus": (2,), "seed": (2,),
        "faces": (2, 33, 128, 128, 3), "faces_mask": (2, 33), "faces_length": (2,),
        "audio": (2, 33 * 640), "audio_mask": (2, 33 * 640), "audio_length": (2,),
        "landmarks": (2, 33, 10), "landmarks_mask": (2, 33), "landmarks_length": (2,),
        "times": (2, 33), "times_mask": (2, 33), "times_length": (2,),
    }  # fmt: skip
    assert batch["key"] == ["made-20-5", "made-33-6"]
    assert batch["seed"].tolist() == [5, 6]
    for name in ("faces", "landmarks", "times"):
        assert batch[f"{name}_length"].tolist() == [20, 33]
        assert batch[f"{name}_mask"].sum(1).tolist() == [20, 33]
        assert not batch[name][0, 20:].any()
    assert batch["text"][0] == "w0 w1 w2 w3"
    assert [word.text for word in batch["words"][0]] == ["w0", "w1", "w2", "w3"]
    assert batch["json"][1]["rows"] == 33


def test_one_equals_batch_of_one() -> None:
    collator = Collator(EVERYTHING, Window.of_frames(8))
    batch = collator.batch([sample(20)], allocate)
    one = collator.one(sample(20))
    assert one["faces"].shape == (8, 128, 128, 3)
    assert_equal({name: values[0] for name, values in batch.items()}, one)


@settings(max_examples=examples(30))
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2**64 - 1)), min_size=1, max_size=4),
    st.integers(1, 45),
)
def test_window_is_the_same_in_every_field(clips: list[tuple[int, int]], length: int) -> None:
    samples = [sample(rows, seed=seed) for rows, seed in clips]
    whole = Collator(EVERYTHING).batch(samples, allocate)
    batch = Collator(EVERYTHING, Window.of_frames(length)).batch(samples, allocate)
    for number, (rows, _) in enumerate(clips):
        first, shown = int(batch["window_row"][number]), min(rows, length)
        assert first + shown <= rows
        for name in ("faces", "landmarks", "times"):
            assert batch[name].shape[1] == length
            assert batch[f"{name}_length"][number] == shown
            assert batch[f"{name}_mask"][number].tolist() == [True] * shown + [False] * (length - shown)
            assert not batch[name][number, shown:].any()
        for name in ("landmarks", "times"):
            np.testing.assert_array_equal(
                batch[name][number, :shown], whole[name][number, first : first + shown]
            )
        inner, expected = batch["faces"][number, :shown], whole["faces"][number, first : first + shown]
        np.testing.assert_array_equal(inner.reshape(-1, 128, 3)[1:-1], expected.reshape(-1, 128, 3)[1:-1])
        np.testing.assert_array_equal(
            batch["audio"][number, : shown * 640], whole["audio"][number, first * 640 : (first + shown) * 640]
        )
        middles = [0.2 * n + 0.1 for n in range(rows // 5)]
        inside = [f"w{n}" for n, at in enumerate(middles) if first / 25 <= at < (first + shown) / 25]
        assert batch["text"][number].split() == inside
        assert [word.text for word in batch["words"][number]] == inside
        assert all(0 <= w.start < w.end <= shown / 25 + 1e-9 for w in batch["words"][number])


def test_batch_does_not_depend_on_process() -> None:
    samples = [sample(25, seed=seed) for seed in range(3)]
    collator = Collator(EVERYTHING, Window.of_seconds(0.5))
    first = collator.batch(samples, allocate)
    copied: Collator = pickle.loads(pickle.dumps(collator))  # noqa: S301
    assert copied == collator
    assert_equal(first, copied.batch(samples, lambda name, shape, dtype: np.zeros(shape, dtype)))
    # The other samples of the batch do not matter either.
    alone = collator.batch(samples[1:2], allocate)
    np.testing.assert_array_equal(alone["faces"][0], first["faces"][1])


def test_bridged_rows_are_masked() -> None:
    batch = Collator(["faces", "landmarks", "times"]).batch([sample(12, bridged=(0, 5, 6))], allocate)
    expected = [row not in (0, 5, 6) for row in range(12)]
    for name in ("faces", "landmarks", "times"):
        assert batch[f"{name}_mask"][0].tolist() == expected
        assert batch[f"{name}_length"].tolist() == [12]
    assert not batch["landmarks"][0, [0, 5, 6]].any()
    assert not batch["times"][0, [0, 5, 6]].any()


def test_fill_nan_keeps_unknown_values() -> None:
    field = TrackField("landmarks", fill=float("nan"))
    batch = Collator([field]).batch([sample(6, bridged=(2,)), sample(4)], allocate)
    assert np.isnan(batch["landmarks"][0, 2]).all()
    assert np.isnan(batch["landmarks"][1, 4:]).all()
    assert np.isnan(batch["landmarks"]).sum() == 30


def test_window_may_cover_bridged_rows() -> None:
    window = Window.of_frames(4)
    batch = Collator(["faces"], window).batch(
        [sample(12, seed=seed, bridged=(5,)) for seed in range(9)], allocate
    )
    for first, mask in zip(batch["window_row"], batch["faces_mask"], strict=True):
        assert mask.tolist() == [row != 5 for row in range(first, first + 4)]


def test_reads_only_declared_members() -> None:
    class Watched(dict[str, Any]):
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            self.read: set[str] = set()

        def __getitem__(self, name: str) -> Any:
            self.read.add(name)
            return super().__getitem__(name)

    for fields in (["faces"], ["audio", "text"], ["words", "landmarks"], ["json"], ["mfcc"]):
        for windows in (None, Window.of_frames(3)):
            if windows and fields == ["json"]:
                continue
            watched = Watched(members(9))
            collator = Collator(fields, windows)
            collator.one(RawSample(key="k", corpus=0, members=watched, row={}, seed=1))
            assert watched.read == collator.members


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"image"}))
def test_every_field_collates_clips_and_windows(name: str) -> None:
    """Contract: every byte is written, the batch axis comes first, and a missing member is named."""
    samples = [sample(9), sample(7)]
    for windows in (None, Window.of_frames(8)):
        collator = Collator([name], windows)
        batch = collator.batch(samples, allocate)
        assert_equal(batch, collator.batch(samples, lambda name, shape, dtype: np.zeros(shape, dtype)))
        assert all(len(values) == 2 for values in batch.values())
        with pytest.raises(MissingMemberError, match="sample bare: it has no "):
            collator.one(RawSample(key="bare", corpus=0, members={}, row={"rows": 9}, seed=1))


def test_rejects_clips_shorter_than_window() -> None:
    window = Window.of_frames(10, short="refuse")
    Collator(["faces"], window).one(sample(10))
    with pytest.raises(ShortClipError, match="sample made-9-1: it has 9 rows, the window has 10"):
        Collator(["faces"], window).one(sample(9))


def test_rejects_window_over_unequal_extents() -> None:
    short = encode_npy(np.zeros((5, 10), np.float32))
    with pytest.raises(DamagedSampleError, match="its fields have 5, 12 rows"):
        Collator(["faces", "landmarks"], Window.of_frames(4)).one(sample(12, landmarks_npy=short))


def test_rejects_tracks_of_different_width() -> None:
    other = encode_npy(np.zeros((9, 3), np.float32))
    with pytest.raises(DamagedSampleError, match=r"landmarks.npy is damaged: its rows are float32 \(3,\)"):
        Collator(["landmarks"]).batch([sample(9), sample(9, landmarks_npy=other)], allocate)


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("faces_jpg", b"", "not a JPEG"),
        ("faces_jpg", members(9)["faces.jpg"][:3000], "faces.jpg is damaged"),
        ("times_npy", encode_npy(np.zeros(4)), "beside a strip of 9 frames"),
        ("times_npy", b"\x93NUMPY", "times.npy is damaged"),
    ],
)
def test_damaged_faces_raise(member: str, data: bytes, message: str) -> None:
    damaged: dict[str, Any] = {member: data}
    with pytest.raises(DamagedSampleError, match=message) as caught:
        Collator(["faces"]).batch([sample(9), sample(9, seed=2, **damaged)], allocate)
    assert caught.value.key == "made-9-2"
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (str(copy), copy.key) == (str(caught.value), "made-9-2")


def a_word(text: str, start: str) -> bytes:
    return f'{{"words": [{{"text": {text}, "start": {start}, "end": 0.1, "probability": 1}}]}}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"\xff\xfe", b"[1]", b'{"words": [{"text": "a"}]}', b'{"words": 3}', b"[" * 100_000,
        b"1" * 5000, a_word('"a"', '"0"'), a_word('"a"', "NaN"), a_word("7", "0"), a_word('"a"', "null"),
    ],
    ids=range(11),
)  # fmt: skip
def test_damaged_json_raises(data: bytes) -> None:
    with pytest.raises(DamagedSampleError, match="json is damaged"):
        Collator(["words"]).one(sample(9, json=data))


def test_names_impossible_face_size() -> None:
    with pytest.raises(UsageError, match=r"of 128 pixels cannot be decoded to 50; .* 16, 32, 48, 64, 80"):
        Collator([FacesField(size=50)]).one(sample(3))


@pytest.mark.parametrize("fields", [[], ["faces", "faces"], ["faces", FacesField(size=48)]])
def test_rejects_invalid_fields(fields: list[Any]) -> None:
    with pytest.raises(UsageError, match="each field once"):
        Collator(fields)


def test_rejects_reserved_track_names() -> None:
    with pytest.raises(UsageError, match="seed: reserved keys"):
        Collator(["faces", "seed"])


def test_window_needs_field_with_extent() -> None:
    with pytest.raises(UsageError, match="extent in time"):
        Collator(["json"], Window.of_frames(3)).one(
            RawSample(key="k", corpus=0, members=members(9), row={}, seed=1)
        )


def track_sample(rows: int, seed: int, columns: list[str] | None = None) -> RawSample:
    """A sample with a track that no registry knows."""
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    values[2, 1] = np.nan
    meta: dict[str, Any] = {} if columns is None else {"tracks": {"head_pose": columns}}
    found = {"head_pose.npy": encode_npy(values), "json": json.dumps(meta).encode()}
    return RawSample(key=f"track-{rows}", corpus=0, members=found, row={}, seed=seed)


@pytest.mark.parametrize("windows", [None, Window.of_frames(8)])
def test_unknown_track_is_a_field_by_name(windows: Window | None) -> None:
    batch = Collator(["head_pose"], windows).batch([track_sample(6, 1), track_sample(5, 2)], allocate)
    length = windows.rows if windows else 6
    assert batch["head_pose"].shape == (2, length, 3)
    assert batch["head_pose_length"].tolist() == [6, 5]
    expected = [[row < rows and row != 2 for row in range(length)] for rows in (6, 5)]
    assert batch["head_pose_mask"].tolist() == expected
    assert batch["head_pose"][1, 4].tolist() == [12, 13, 14]
    assert not batch["head_pose"][1, 5:].any()


def test_selects_track_columns_by_name() -> None:
    field = TrackField("head_pose", columns=("roll", "yaw"))
    names = ["yaw", "pitch", "roll"]
    batch = Collator([field]).batch([track_sample(4, 1, names)], allocate)
    assert batch["head_pose"][0].tolist() == [[2, 0], [5, 3], [8, 6], [11, 9]]
    assert batch["head_pose_mask"].all(), "the unknown value is in another column"
    with pytest.raises(UsageError, match="has no column roll; it has yaw, pitch, tilt"):
        Collator([field]).one(track_sample(4, 1, ["yaw", "pitch", "tilt"]))
    with pytest.raises(DamagedSampleError, match="does not name the columns of the track head_pose"):
        Collator([field]).one(track_sample(4, 1))
    with pytest.raises(DamagedSampleError, match="names 2 columns"):
        Collator([field]).one(track_sample(4, 1, ["roll", "yaw"]))
