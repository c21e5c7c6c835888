"""MFCCs equal those of librosa."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mien.ingest.errors import UsageError
from mien.models.reader.fields import Collator, MfccField
from tests.models.reader.fields.sample_factory import allocate, sample

CHIRP = (0.5 * np.sin(2 * np.pi * 40 * np.exp(np.linspace(0, 5, 16_000)))).astype(np.float32)

# librosa 0.11.0: feature.mfcc(y=CHIRP, sr=16000, n_mfcc=4, **options).T[[0, 7, -1]]
DEFAULTS: list[list[float]] = [
    [-291.9670104980469, 200.2010040283203, 46.777000427246094, 40.54999923706055],
    [-423.90301513671875, 128.91200256347656, 40.542999267578125, -57.784000396728516],
    [-28.545000076293945, -120.35199737548828, 10.404999732971191, 30.966999053955078],
]
NARROW: list[list[float]] = [
    [-202.16900634765625, 111.10399627685547, 25.104000091552734, 23.413999557495117],
    [-336.0090026855469, 72.14800262451172, 62.51900100708008, 48.04600143432617],
    [-103.97200012207031, 0.30000001192092896, -45.23099899291992, 47.012001037597656],
]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (MfccField(coefficients=4), DEFAULTS),
        (MfccField(coefficients=4, hop_samples=160, fft_samples=512, mels=40), NARROW),
    ],
)
def test_matches_recorded_librosa_values(field: MfccField, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(field.of(CHIRP)[[0, 7, -1]], expected, atol=2e-3)


@pytest.mark.parametrize("options", [{}, {"hop_samples": 160, "fft_samples": 400, "mels": 64}])
def test_matches_librosa(options: dict[str, Any]) -> None:
    librosa = pytest.importorskip(
        "librosa", reason="librosa is not installed; the recorded values above are still tested"
    )
    field = MfccField(**options)
    expected = librosa.feature.mfcc(
        y=CHIRP,
        sr=16_000,
        n_mfcc=field.coefficients,
        hop_length=field.hop_samples,
        n_fft=field.fft_samples,
        n_mels=field.mels,
    )
    np.testing.assert_allclose(field.of(CHIRP), expected.T, atol=2e-3)


def test_window_of_steps() -> None:
    field = MfccField()
    batch = Collator([field, "faces"], field.window(40)).batch([sample(50), sample(20)], allocate)
    assert batch["mfcc"].shape == (2, 40, 20)
    assert batch["faces"].shape[1] == 32
    assert batch["mfcc_length"].tolist() == [40, 1 + 20 * 640 // 512]
    assert batch["mfcc_mask"].sum(1).tolist() == batch["mfcc_length"].tolist()
    assert not batch["mfcc"][1, 26:].any()


def test_window_uses_only_its_sound() -> None:
    field = MfccField()
    batch = Collator([field, "audio"], field.window(10)).batch([sample(50)], allocate)
    np.testing.assert_array_equal(batch["mfcc"][0], field.of(batch["audio"][0]))


def test_silence_is_finite() -> None:
    assert np.isfinite(MfccField().of(np.zeros(5, np.float32))).all()


@pytest.mark.parametrize(
    "options", [{"coefficients": 0}, {"coefficients": 41, "mels": 40}, {"hop_samples": 0}]
)
def test_rejects_invalid_options(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="coefficients must be"):
        MfccField(**options)
