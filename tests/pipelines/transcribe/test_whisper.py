"""What is saved around the network changes nothing of what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faster_whisper import WhisperModel

from mien.pipelines.transcribe.whisper import open_whisper
from mien.pipelines.weights import locate
from tests.demo_media import needs_weights


@pytest.mark.slow
def test_windows_encoded_one_by_one_are_those_of_a_batch_to_the_bit(monkeypatch: Any) -> None:
    needs_weights()
    model, _ = open_whisper(str(locate("whisper-base")), device="cpu", compute_type="int8", threads=1)
    features = np.random.default_rng(7).normal(0, 0.5, (3, 80, 3000)).astype(np.float32)
    features[1, :, 900:] = features[1].min()  # a window that is silent for the most part
    batch = np.asarray(WhisperModel.encode(model, features))
    given: list[tuple[int, ...]] = []
    encode = WhisperModel.encode

    def watched(self: WhisperModel, some: np.ndarray[Any, Any]) -> Any:
        given.append(some.shape)
        return encode(self, some)

    monkeypatch.setattr(WhisperModel, "encode", watched)
    singly = np.asarray(model.encode(features))
    assert given == [(80, 3000)] * 3
    assert singly.shape == batch.shape
    assert np.array_equal(singly, batch)
    again = np.asarray(model.encode(features.copy()))
    assert len(given) == 3, "what was encoded last is not encoded again"
    assert np.array_equal(again, batch)
