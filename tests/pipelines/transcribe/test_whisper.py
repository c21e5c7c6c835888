"""The optimised encoder is bit-identical to the library's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faster_whisper import WhisperModel

from mien.pipelines.transcribe.whisper import open_whisper
from mien.pipelines.weights import locate
from tests.demo_media import needs_weights


@pytest.mark.slow
def test_encoding_one_by_one_equals_batch_encoding(monkeypatch: Any) -> None:
    needs_weights()
    model, _ = open_whisper(str(locate("whisper-base")), device="cpu", compute_type="int8", threads=1)
    features = np.random.default_rng(7).normal(0, 0.5, (3, 80, 3000)).astype(np.float32)
    features[1, :, 900:] = features[1].min()  # a mostly silent window
    batch = np.asarray(WhisperModel.encode(model, features))
    shapes: list[tuple[int, ...]] = []
    encode = WhisperModel.encode

    def recording_encode(self: WhisperModel, some: np.ndarray[Any, Any]) -> Any:
        shapes.append(some.shape)
        return encode(self, some)

    monkeypatch.setattr(WhisperModel, "encode", recording_encode)
    singly = np.asarray(model.encode(features))
    assert shapes == [(80, 3000)] * 3
    assert singly.shape == batch.shape
    assert np.array_equal(singly, batch)
    cached = np.asarray(model.encode(features.copy()))
    assert len(shapes) == 3, "the last encoding is cached"
    assert np.array_equal(cached, batch)
