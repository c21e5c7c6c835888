"""Where to cut: in the widest pause near the wanted length, else at the quietest point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.pipelines.data import ROW_HZ, ROW_SAMPLES, Int16, Span


def choose_cut(
    speech: Sequence[Span], sound: Int16, *, start: float, earliest: float, latest: float, target: float
) -> float:
    """A time on the 25 Hz grid in [earliest, latest] at which to end the segment that began at `start`.

    `speech` are the spans of speech and `sound` (N,) the samples from `start` on, both reaching to `latest`
    at least. A pause is worth its width (1 s is as good as any wider) less its distance from `target`.
    """
    best: tuple[float, float] | None = None
    edges = [start, *(edge for span in speech for edge in span), float("inf")]
    for quiet_from, quiet_to in zip(edges[0::2], edges[1::2], strict=True):
        low, high = max(quiet_from, earliest), min(quiet_to, latest)
        # A pause narrower than two rows has no row that is surely inside it.
        if high - low < 2 / ROW_HZ:
            continue
        cut = min(max(target, low + 1 / ROW_HZ), high - 1 / ROW_HZ)
        if quiet_to - quiet_from < 4.0:
            cut = (low + high) / 2
        worth = min(quiet_to - quiet_from, 1.0) - 0.5 * abs(cut - target) / (latest - earliest)
        if best is None or worth > best[0]:
            best = (worth, cut)
    if best is not None:
        return round(best[1] * ROW_HZ) / ROW_HZ
    return _quietest(sound, start=start, earliest=(target + latest) / 2, latest=latest)


def _quietest(sound: Int16, *, start: float, earliest: float, latest: float) -> float:
    first = round((earliest - start) * ROW_HZ)
    last = round((latest - start) * ROW_HZ)
    rows = sound[: sound.size // ROW_SAMPLES * ROW_SAMPLES].reshape(-1, ROW_SAMPLES)[first:last]
    if not len(rows):
        return round(latest * ROW_HZ) / ROW_HZ
    power = np.square(rows.astype(np.float32)).mean(axis=1)
    # Three rows (120 ms) together, so that a single zero crossing of loud sound does not win.
    smooth = np.convolve(power, np.ones(3) / 3, mode="same")
    return round((start * ROW_HZ) + first + int(np.argmin(smooth)) + 0.5) / ROW_HZ
