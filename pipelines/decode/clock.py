"""Presentation times for pictures, also for those that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_WAIT_FOR_A_TIME_FRAMES = 32


class PresentationClock:
    """Gives every picture a time that never goes back; those without one get theirs from their neighbours."""

    def __init__(self, seconds_of_ticks: Callable[[int], float], interval: float, start: float) -> None:
        self._seconds = seconds_of_ticks
        self._interval = interval
        self._start = start
        self._last: float | None = None
        self._waiting: list[VideoFrame] = []

    def timed(self, picture: VideoFrame) -> Iterator[tuple[float, VideoFrame]]:
        ticks = picture.pts if picture.pts is not None else picture.dts
        if ticks is not None:
            seconds = self._seconds(ticks)
            yield from self._release(seconds - len(self._waiting) * self._interval)
            self._last = seconds if self._last is None else max(seconds, self._last)
            yield self._last, picture
        elif self._last is not None:
            self._last += self._interval
            yield self._last, picture
        else:
            self._waiting.append(picture)
            if len(self._waiting) >= _WAIT_FOR_A_TIME_FRAMES:
                yield from self.rest()

    def rest(self) -> Iterator[tuple[float, VideoFrame]]:
        """Those that still wait, when no time is to be hoped for."""
        yield from self._release(self._start)

    def _release(self, seconds: float) -> Iterator[tuple[float, VideoFrame]]:
        waiting, self._waiting = self._waiting, []
        for picture in waiting:
            yield seconds, picture
            self._last = seconds
            seconds += self._interval
