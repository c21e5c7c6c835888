"""Reads every packet of a file without decoding, to describe its content independently of the header."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av.container import InputContainer

# Two intervals differ if their difference exceeds this and a tenth of the interval. Matroska and FLV round
# times to 1 ms.
_JITTER_SECONDS = 0.002


def seconds_of(ticks: int, time_base: Fraction) -> float:
    """Converts ticks to seconds. All code uses this function, so that equal ticks give equal floats."""
    return ticks * time_base.numerator / time_base.denominator


@dataclass(slots=True)
class Walked:
    """The presented packets of one stream (an edit list may discard some)."""

    time_base: Fraction
    ticks: array[int] = field(default_factory=lambda: array("q"))
    durations: array[int] = field(default_factory=lambda: array("q"))
    discarded: int = 0
    corrupt: int = 0
    last_is_corrupt: bool = False
    back_seconds: float = 0.0
    """The largest backward jump of the decoding time between two packets."""
    _last_dts: int | None = None

    def note_order(self, dts: int | None) -> None:
        if dts is not None:
            if self._last_dts is not None and dts < self._last_dts:
                self.back_seconds = max(self.back_seconds, seconds_of(self._last_dts - dts, self.time_base))
            self._last_dts = dts

    @property
    def packets(self) -> int:
        return len(self.ticks)

    @property
    def start(self) -> float:
        """On the container's clock, like `end`."""
        return seconds_of(min(self.ticks), self.time_base)

    @property
    def end(self) -> float:
        ticks, durations = np.asarray(self.ticks), np.asarray(self.durations)
        if not durations.any():
            return seconds_of(int(ticks.max()), self.time_base) + self.interval
        return seconds_of(int((ticks + durations).max()), self.time_base)

    @property
    def interval(self) -> float:
        """Median seconds from one packet to the next; 0 for a single packet."""
        return float(np.median(self._intervals())) if self.packets > 1 else 0.0

    def _intervals(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        base = self.time_base.numerator / self.time_base.denominator
        return np.diff(np.sort(np.asarray(self.ticks))) * base

    @property
    def mean_rate(self) -> float | None:
        """Packets per second between the first and the last packet."""
        spread = seconds_of(max(self.ticks) - min(self.ticks), self.time_base)
        return (self.packets - 1) / spread if spread > 0 else None

    @property
    def variable(self) -> bool:
        """Whether more than 1 % of the intervals differ from the median."""
        if self.packets < 3:
            return False
        intervals = self._intervals()
        median = float(np.median(intervals))
        odd = np.abs(intervals - median) > max(_JITTER_SECONDS, 0.1 * median)
        return bool(odd.mean() > 0.01)

    @property
    def longest_interval(self) -> float:
        return float(self._intervals().max()) if self.packets > 1 else 0.0

    @property
    def longest_silence(self) -> float:
        """The longest gap in seconds between the end of a packet and the next packet."""
        order = np.argsort(np.asarray(self.ticks), kind="stable")
        starts, ends = np.asarray(self.ticks)[order], (np.asarray(self.ticks) + self.durations)[order]
        holes = starts[1:] - np.maximum.accumulate(ends)[:-1]
        return max(0.0, seconds_of(int(holes.max()), self.time_base)) if len(holes) else 0.0


def walk(container: InputContainer) -> tuple[dict[int, Walked], str]:
    """The packets of each stream by index, and the error that ended the reading ("" for none)."""
    import av

    walked = {
        stream.index: Walked(stream.time_base or Fraction(1, 1_000_000)) for stream in container.streams
    }
    error = ""
    try:
        for packet in container.demux():
            if not packet.size:
                continue  # libav's flush packet
            facts = walked[packet.stream_index]
            facts.last_is_corrupt = packet.is_corrupt
            facts.corrupt += packet.is_corrupt
            ticks = packet.pts if packet.pts is not None else packet.dts
            if packet.is_discard or ticks is None:
                facts.discarded += 1
                continue
            facts.note_order(packet.dts)
            facts.ticks.append(ticks)
            facts.durations.append(packet.duration or 0)
    except (av.FFmpegError, OverflowError) as stopped:
        error = str(stopped)
    return walked, error
