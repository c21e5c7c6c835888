"""Shards and a loader state that commit dcc66da wrote are read, decoded and resumed unchanged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import ShardReader, Window

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "reader_dcc66da"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())
FIELDS = ["faces", "audio", "mfcc", "landmarks", "speaking", "times", "text", "words", "json"]


def open_reader(tmp_path: Path, **options: Any) -> ShardReader:
    return ShardReader(FIXTURE / "shards", fields=FIELDS, cache_dir=tmp_path / "cache", seed=7, **options)


def windowed(tmp_path: Path) -> ShardReader:
    return open_reader(tmp_path, windows=Window.of_frames(12), where="rows > 5")


def digest(values: dict[str, Any]) -> dict[str, Any]:
    """As the old reader's values were hashed. The floats of `mfcc` depend on the machine's linear algebra."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in {"mfcc", "words"}:
            continue
        if hasattr(value, "dtype"):
            array = np.ascontiguousarray(value)
            content = hashlib.sha256(array.tobytes()).hexdigest()[:16]
            found[name] = f"{array.dtype} {list(array.shape)} {content}"
        else:
            found[name] = hashlib.sha256(repr(value).encode()).hexdigest()[:16]
    return found


def test_decodes_old_samples(tmp_path: Path) -> None:
    reader = open_reader(tmp_path)
    assert reader.manifest_hash == EXPECTED["manifest_hash"]
    assert [sample.key for sample in reader.samples()] == list(EXPECTED["samples"])
    for key, expected in EXPECTED["samples"].items():
        sample = reader[key]
        words = [[word.text, word.start, word.end, word.probability] for word in sample["words"]]
        assert {**digest(sample), "words": words} == expected


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_gives_the_same_batches(tmp_path: Path, workers: int) -> None:
    found: list[dict[str, Any]] = []
    with windowed(tmp_path).loader(global_batch=2, tail="carry", tensors=False, workers=workers) as loader:
        while len(found) < 7:
            found += [digest(batch) for batch in loader]
    assert found[:7] == EXPECTED["batches"]


def test_resumes_from_old_state(tmp_path: Path) -> None:
    with windowed(tmp_path).loader(global_batch=2, tail="carry", tensors=False) as loader:
        loader.load_state_dict(EXPECTED["state_after_3"])
        assert loader.state_dict() == EXPECTED["state_after_3"]
        assert digest(next(iter(loader))) == EXPECTED["batches"][3]


def test_verifies_old_checksums(tmp_path: Path) -> None:
    reader = open_reader(tmp_path, verify=True)
    assert len(list(reader.samples())) == len(reader) == 3
