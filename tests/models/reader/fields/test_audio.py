"""The audio field: whole clips, windows and damaged members."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.ingest.errors import DamagedSampleError, MissingMemberError, UsageError
from mien.models.reader.fields import AudioField, Collator, Window
from tests.hypothesis_examples import examples
from tests.models.reader.fields.sample_factory import allocate, members, sample, sound


def flac_of(values: np.ndarray, hz: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, values, hz, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def test_pads_clips_with_silence() -> None:
    batch = Collator(["audio"]).batch([sample(30), sample(50)], allocate)
    expected = sound(50).astype(np.float32) / 32768
    np.testing.assert_array_equal(batch["audio_length"], [30 * 640, 50 * 640])
    np.testing.assert_array_equal(batch["audio"][1], expected)
    np.testing.assert_array_equal(batch["audio"][0, : 30 * 640], sound(30).astype(np.float32) / 32768)
    assert not batch["audio"][0, 30 * 640 :].any()
    np.testing.assert_array_equal(batch["audio_mask"].sum(1), batch["audio_length"])
    assert batch["audio"].dtype == np.float32


def test_int16_is_as_stored() -> None:
    one = Collator([AudioField(dtype="int16")]).one(sample(30))
    np.testing.assert_array_equal(one["audio"], sound(30))
    assert one["audio"].dtype == np.int16


@settings(max_examples=examples(25))
@given(st.integers(20, 60), st.integers(1, 30_000), st.integers(0, 2**64 - 1))
def test_window_is_a_slice(rows: int, length: int, seed: int) -> None:
    window = Window.of_samples(length)
    batch = Collator([AudioField(dtype="int16")], window).batch([sample(rows, seed=seed)], allocate)
    first = int(batch["window_row"][0]) * 640
    shown = int(batch["audio_length"][0])
    assert shown == min(length, rows * 640)
    np.testing.assert_array_equal(batch["audio"][0, :shown], sound(rows)[first : first + shown])
    assert not batch["audio"][0, shown:].any()


def test_flipped_bits_raise() -> None:
    """Each FLAC frame has a CRC."""
    good = members(40)["flac"]
    rng = np.random.default_rng(0)
    for _ in range(40):
        bad = bytearray(good)
        bad[rng.integers(60, len(bad))] ^= 1 << int(rng.integers(8))
        with pytest.raises(DamagedSampleError, match="made-40-1: flac is damaged") as caught:
            Collator(["audio"]).batch([sample(40, flac=bytes(bad))], allocate)
        assert caught.value.key == "made-40-1"


def test_truncated_member_raises() -> None:
    good = members(40)["flac"]
    with pytest.raises(DamagedSampleError, match="flac is damaged"):
        Collator(["audio"]).one(sample(40, flac=good[: len(good) // 2]))


@pytest.mark.parametrize("data", [b"", b"RIFF....WAVE", members(5)["flac"][:30]])
def test_not_flac_raises(data: bytes) -> None:
    with pytest.raises(DamagedSampleError, match="not FLAC"):
        Collator(["audio"]).one(sample(40, flac=data))


def test_names_other_rates_and_channels() -> None:
    with pytest.raises(UsageError, match="44100 Hz and 1 channels"):
        Collator(["audio"]).one(sample(5, flac=flac_of(sound(5), 44_100)))
    with pytest.raises(UsageError, match="16000 Hz and 2 channels"):
        Collator(["audio"]).one(sample(5, flac=flac_of(np.stack([sound(5)] * 2, 1), 16_000)))


def test_clip_without_sound_raises() -> None:
    with pytest.raises(MissingMemberError, match=r"it has no flac \(it has faces\.jpg, json"):
        Collator(["audio"]).one(sample(5, flac=None))
