"""Numbers about a clip's sound that a trainer filters by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.pipelines.data import ROW_HZ, ROW_SAMPLES, Int16, Span


def sound_quality(
    sound: Int16 | None, speech: Sequence[Span], *, start: float
) -> tuple[float | None, float | None]:
    """Share of the clip that is speech, and its signal-to-noise ratio in dB.

    `sound` (T * ROW_SAMPLES,) begins at `start` seconds; `speech` are the segment's spans. The noise is the
    mean power of the rows without speech, or, where there are fewer than three of those, the quietest tenth
    of all rows (a lower bound of the ratio: people pause between syllables). None for digital silence.
    """
    if sound is None or sound.size == 0:
        return None, None
    power = np.square(sound.reshape(-1, ROW_SAMPLES).astype(np.float64)).mean(axis=1)
    instants = start + (np.arange(power.size) + 0.5) / ROW_HZ
    spoken = np.zeros(power.size, bool)
    for a, b in speech:
        spoken |= (instants >= a) & (instants < b)
    ratio = round(float(spoken.mean()), 4)
    quiet = power[~spoken] if (~spoken).sum() >= 3 else np.sort(power)[: max(1, power.size // 10)]
    loud = power[spoken] if spoken.any() else power
    if quiet.mean() <= 0 or loud.mean() <= 0:
        return ratio, None
    return ratio, round(10 * float(np.log10(loud.mean() / quiet.mean())), 2)
