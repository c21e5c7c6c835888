"""faster-whisper with two optimisations.

Windows that were encoded for language detection are not encoded again. On a CPU, windows are encoded one
by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from ctranslate2 import DataType, StorageView
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.audio import pad_or_trim
from scipy.sparse import csr_array

from mien.pipelines.data import Float32


class CachedEncoderWhisper(WhisperModel):  # type: ignore[misc]
    """Caches the last encoding. On short speech the encoder takes as much time as the decoder."""

    _last_features: Float32 | None = None
    _encoded: Any = None

    def encode(self, features: Float32) -> Any:
        if self._last_features is None or not np.array_equal(self._last_features, features):
            self._encoded = self._encode(features)
            self._last_features = features
        return self._encoded

    def _encode(self, features: Float32) -> Any:
        """Bit-identical to the library's encoding.

        On a CPU a batch takes longer than its windows one by one: the activations between two layers (12 MB
        per window) do not fit into the CPU cache, and each call has to allocate memory for them.
        """
        if features.ndim == 2 or len(features) == 1 or self.model.device != "cpu":
            return super().encode(features)
        first = super().encode(features[0])
        if first.dtype != DataType.float32:  # NumPy has no bfloat16
            return super().encode(features)
        rest = [super(CachedEncoderWhisper, self).encode(window) for window in features[1:]]
        return StorageView.from_array(np.concatenate([np.asarray(window) for window in (first, *rest)]))

    def language_of(self, clips: Sequence[Float32]) -> tuple[str, float]:
        """The most likely language of `clips`, and its probability.

        Each clip is (N,) float32 at 16 kHz, at most 30 s long.
        """
        # The same batch that BatchedInferencePipeline will encode, so that it hits the cache.
        features = np.stack([pad_or_trim(self.feature_extractor(clip)[..., :-1]) for clip in clips])
        if not self.model.is_multilingual:
            return "en", 1.0
        total: dict[str, float] = defaultdict(float)
        for ranking in self.model.detect_language(self.encode(features)):
            for token, probability in ranking:
                total[token[2:-2]] += probability / len(clips)
        return max(total.items(), key=lambda pair: pair[1])


def open_whisper(
    path: str, *, device: str, compute_type: str, threads: int
) -> tuple[CachedEncoderWhisper, BatchedInferencePipeline]:
    """The model at `path` (a CTranslate2 folder), and the pipeline that batches its windows."""
    model = CachedEncoderWhisper(
        path, device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True
    )
    # The same sound must give the same words on every node. A dense product uses BLAS, whose rounding
    # depends on its number of threads, and with int8 such differences can change words. The filters are
    # almost all zeros, so a sparse product is used.
    extractor = model.feature_extractor
    extractor.mel_filters = csr_array(extractor.mel_filters)
    return model, BatchedInferencePipeline(model)
