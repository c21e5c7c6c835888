"""`mfcc`: mel-frequency cepstral coefficients, with the same values as `librosa.feature.mfcc` (librosa 0.11).

Hann window, power spectrum, Slaney's mel bands of equal area (Auditory Toolbox, 1998), decibels limited to 80
below the maximum, orthonormal DCT-II. librosa is not used because it imports numba and scikit-learn into each
worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mien.ingest.errors import UsageError
from mien.models.reader.data import Allocate
from mien.models.reader.fields.audio import AudioBasedField, Sound, decode_sound, sample_spans
from mien.models.reader.fields.window import Cut, Window
from mien.pipelines.data import SOUND_HZ, Float32

_SILENCE = 1e-10
_RANGE_DB = 80.0


@dataclass(frozen=True, slots=True)
class MfccField(AudioBasedField):
    """`mfcc` (B, S, coefficients) float32; `mfcc_length` (B,) int64 steps; `mfcc_mask` (B, S) bool.

    There is one step per `hop_samples` samples of sound, centred, so N samples have 1 + N // hop_samples
    steps. Sound outside the window or the clip is treated as silence.
    """

    coefficients: int = 20
    hop_samples: int = 512
    fft_samples: int = 2048
    mels: int = 128
    member: str = "flac"

    def __post_init__(self) -> None:
        if not 1 <= self.coefficients <= self.mels or self.hop_samples < 1 or self.fft_samples < 2:
            raise UsageError(
                "coefficients must be in [1, mels], hop_samples at least 1, fft_samples at least 2; "
                f"got {self}"
            )

    @property
    def name(self) -> str:
        return "mfcc"

    def window(self, steps: int) -> Window:
        """The shortest window that has `steps` steps."""
        return Window.of_samples(max(1, (steps - 1) * self.hop_samples))

    def collate(
        self, parts: Sequence[Sound], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        spans = sample_spans(parts, cuts, window)
        steps = [1 + count // self.hop_samples for _, count in spans]
        length = 1 + window.samples // self.hop_samples if window else max(steps)
        shape = (len(parts), length, self.coefficients)
        out = allocate("mfcc", shape, np.dtype(np.float32))
        mask = allocate("mfcc_mask", shape[:2], np.dtype(np.bool_))
        lengths = allocate("mfcc_length", shape[:1], np.dtype(np.int64))
        for number, (part, (first, count)) in enumerate(zip(parts, spans, strict=True)):
            sound = np.empty(count, np.float32)
            decode_sound(part, sound, first=first)
            out[number, : steps[number]] = self.of(sound)
            out[number, steps[number] :] = 0
            mask[number, : steps[number]] = True
            mask[number, steps[number] :] = False
        lengths[:] = steps
        return {"mfcc": out, "mfcc_mask": mask, "mfcc_length": lengths}

    def of(self, sound: Float32) -> Float32:
        """(S, coefficients) of `sound` (N,), N > 0, in [-1, 1)."""
        import scipy.fft

        half = self.fft_samples // 2
        padded = np.pad(sound, (half, self.fft_samples - half))
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.fft_samples)[:: self.hop_samples]
        frames = frames[: 1 + len(sound) // self.hop_samples]
        spectrum = scipy.fft.rfft(frames * _hann(self.fft_samples), axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        bands = 10 * np.log10(np.maximum(power @ _mel_bands(self.fft_samples, self.mels), _SILENCE))
        bands = np.maximum(bands, bands.max() - _RANGE_DB)
        found = scipy.fft.dct(bands, type=2, norm="ortho", axis=1)[:, : self.coefficients]
        return np.asarray(found, np.float32)


@lru_cache(maxsize=8)
def _hann(samples: int) -> Float32:
    """Periodic."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)).astype(np.float32)


@lru_cache(maxsize=8)
def _mel_bands(fft_samples: int, mels: int) -> Any:
    """(fft_samples // 2 + 1, mels): triangles on Slaney's scale up to half the rate, of equal area.

    Sparse: eight times faster, and BLAS starts no threads that compete with other workers.
    """
    import scipy.sparse

    hz = np.fft.rfftfreq(fft_samples, 1 / SOUND_HZ)
    edges = _hz_of_mel(np.linspace(0, _mel_of_hz(SOUND_HZ / 2), mels + 2))
    rise = (hz[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    fall = (edges[None, 2:] - hz[:, None]) / np.diff(edges)[None, 1:]
    bands = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[None]
    return scipy.sparse.csc_array(bands.astype(np.float32))


# Slaney's scale: linear up to 1 kHz, where a mel is 200/3 Hz, then logarithmic, 27 mels to a factor of 6.4.
_LINEAR_HZ, _BREAK_HZ, _STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def _mel_of_hz(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return _BREAK_HZ / _LINEAR_HZ + float(np.log(hz / _BREAK_HZ)) / float(_STEP)


def _hz_of_mel(mel: Any) -> Any:
    knee = _BREAK_HZ / _LINEAR_HZ
    return np.where(mel < knee, mel * _LINEAR_HZ, _BREAK_HZ * np.exp(_STEP * (mel - knee)))
