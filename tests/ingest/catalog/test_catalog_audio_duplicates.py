"""Near-duplicates by sound, on both databases and with real sound."""

from __future__ import annotations

from pathlib import Path

import ffmpeg
import numpy as np
import pytest

from mien.ingest.catalog import Catalog
from mien.ingest.catalog.audio_duplicates import MAX_ERROR, difference
from mien.ingest.fetch.sound_print import sound_print
from mien.ingest.ffmpeg import find_ffmpeg
from tests.demo_media import demo_clip
from tests.ingest.catalog.makers import ref


def heard(seed: int, *, values: int = 900) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 32, values, dtype=np.uint32)


def noisy(print_: np.ndarray, share: float, seed: int = 9) -> np.ndarray:
    """Flips this fraction of the bits, but leaves a third of the values unchanged."""
    rng = np.random.default_rng(seed)
    bits = rng.random((print_.size, 32)) < share * 1.5
    bits[rng.random(print_.size) < 1 / 3] = False
    turned: np.ndarray = print_ ^ (bits * (1 << np.arange(32, dtype=np.uint64))).sum(axis=1).astype(np.uint32)
    return turned


def record(catalog: Catalog, name: str, print_: np.ndarray) -> None:
    catalog.add([ref(name)])
    catalog.record_print(f"folder-{name}", print_.astype("<u4").tobytes())


def test_finds_other_encoding_but_not_other_recording(catalog: Catalog) -> None:
    original = heard(1)
    record(catalog, "a", original)
    record(catalog, "encoded", noisy(original, 0.08))
    record(catalog, "cut", noisy(original[80:], 0.04))
    record(catalog, "other", heard(2))
    assert catalog.near_duplicates("folder-a") == ["folder-cut", "folder-encoded"]
    assert "folder-a" in catalog.near_duplicates("folder-encoded")
    assert catalog.near_duplicates("folder-other") == []
    assert catalog.near_duplicates("folder-nobody") == []


def test_shared_jingle_is_no_duplicate(catalog: Catalog) -> None:
    jingle = heard(3, values=80)
    for name, seed in (("a", 4), ("b", 5)):
        record(catalog, name, np.concatenate([jingle, heard(seed)]))
    assert catalog.near_duplicates("folder-a") == []


def test_silence_and_short_sound_match_nothing(catalog: Catalog) -> None:
    for name in ("a", "b"):
        record(catalog, name, np.full(900, 627964279, np.uint32))
        record(catalog, f"short-{name}", heard(6, values=10))
    assert catalog.near_duplicates("folder-a") == []
    assert catalog.near_duplicates("folder-short-a") == []


def test_new_fingerprint_replaces_old_one(catalog: Catalog) -> None:
    record(catalog, "a", heard(1))
    record(catalog, "b", heard(1))
    catalog.record_print("folder-b", heard(2).astype("<u4").tobytes())
    assert catalog.near_duplicates("folder-a") == []


def test_finds_real_sound_in_other_encodings(tmp_path: Path) -> None:
    talk = demo_clip("talks.mp4")
    again = tmp_path / "a: b.opus"
    sound = ffmpeg.input(str(talk)).audio
    ffmpeg.output(sound, f"file:{again}", acodec="libopus", **{"b:a": "24k"}).run(
        cmd=find_ffmpeg(), quiet=True
    )
    one, other = sound_print(str(talk)), sound_print(str(again))
    if not one:
        pytest.skip("this ffmpeg has no Chromaprint")
    assert len(one) % 4 == 0
    assert difference(one, other) < MAX_ERROR / 2
    backwards = np.frombuffer(one, "<u4")[::-1].tobytes()
    assert difference(one, backwards) > 0.3


def test_silent_file_has_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    assert sound_print(str(tmp_path / "text.mp4")) == b""
    assert sound_print(str(tmp_path / "nothing.mp4")) == b""
