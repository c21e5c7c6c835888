"""faster-whisper with two economies: what the language was told from is not encoded a second time, and on a
CPU the windows are encoded one by one."""

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


class _EncodeOnce(WhisperModel):  # type: ignore[misc]
    """Remembers the last encoding: the encoder costs as much as the decoder on short speech."""

    _seen: Float32 | None = None
    _encoded: Any = None

    def encode(self, features: Float32) -> Any:
        if self._seen is None or not np.array_equal(self._seen, features):
            self._encoded = self._encode(features)
            self._seen = features
        return self._encoded

    def _encode(self, features: Float32) -> Any:
        """As the library does, to the bit. A batch of windows costs a CPU more than the windows do: what lies
        between two layers (12 MB a window) leaves its cache, and takes memory that each call must ask for."""
        if features.ndim == 2 or len(features) == 1 or self.model.device != "cpu":
            return super().encode(features)
        first = super().encode(features[0])
        if first.dtype != DataType.float32:  # NumPy knows no bfloat16
            return super().encode(features)
        rest = [super(_EncodeOnce, self).encode(window) for window in features[1:]]
        return StorageView.from_array(np.concatenate([np.asarray(window) for window in (first, *rest)]))

    def language_of(self, clips: Sequence[Float32]) -> tuple[str, float]:
        """The language that the `clips`, each (N,) float32 at 16 kHz and at most 30 s, make likeliest."""
        # Encoded exactly as BatchedInferencePipeline will batch them, so that it finds them encoded.
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
) -> tuple[_EncodeOnce, BatchedInferencePipeline]:
    """The network at `path` (a CTranslate2 folder) and the pipeline that batches its windows."""
    model = _EncodeOnce(
        path, device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True
    )
    # A dense product is BLAS's, whose sums depend on how many threads it has, and int8 makes words of the
    # difference: the same sound must give the same words on every node. The filters are almost all zeros.
    extractor = model.feature_extractor
    extractor.mel_filters = csr_array(extractor.mel_filters)
    return model, BatchedInferencePipeline(model)
