"""Section `engine`: the engine's own cost, measured with five empty stages.

    python -m mien.cluster.benchmarks.engine                  # 2,000 and 6,000 segments
    python -m mien.cluster.benchmarks.engine 1000 3000 --bytes 500000

Reports CPU per segment of the driver and of its process tree (workers, raylet, gcs). It is the difference of
two runs, so the cost of starting and stopping Ray cancels out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psutil

from mien.cluster.engine import Engine, PoolSpec
from mien.pipelines.stage import Stage

SEGMENTS_PER_VIDEO = 100


@dataclass(frozen=True, slots=True)
class Unit:
    key: str
    body: bytes = b""

    @property
    def seconds(self) -> float:
        return 60.0

    @property
    def nbytes(self) -> int:
        return len(self.body) + 100


class EmptyStage(Stage):
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, unit: Unit) -> Iterator[Unit]:
        yield unit


class Split(EmptyStage):
    fans_out = True

    def __init__(self, body_bytes: int) -> None:
        super().__init__("split")
        self._body_bytes = body_bytes

    def __call__(self, unit: Unit) -> Iterator[Unit]:
        for number in range(SEGMENTS_PER_VIDEO):
            yield replace(unit, key=f"{unit.key}-{number}", body=bytes(self._body_bytes))


class CountingObserver:
    """Counts segments, and reads the CPU time of the process tree while it still exists."""

    def __init__(self, videos: int) -> None:
        self._videos = iter(range(videos))
        self._expected = videos * SEGMENTS_PER_VIDEO
        self.finished_count = 0
        self.driver_seconds = self.total_seconds = 0.0
        self.first_at = self.last_at = 0.0
        self.first_rss = self.last_rss = 0

    def next_inputs(self, limit: int) -> list[Unit] | None:
        return [Unit(f"v{n}") for _, n in zip(range(limit), self._videos, strict=False)] or None

    def finished(self, item: Unit) -> None:
        self.finished_count += 1
        if self.finished_count == 200:
            self.first_at = time.monotonic()
            self.first_rss = psutil.Process().memory_info().rss
        if self.finished_count == self._expected:
            self.last_at = time.monotonic()
            self.last_rss = psutil.Process().memory_info().rss
            driver = psutil.Process()
            self.driver_seconds = cpu_seconds(driver)
            children = driver.children(recursive=True)
            self.total_seconds = self.driver_seconds + sum(cpu_seconds(child) for child in children)

    def exhausted(self, key: str, count: int) -> None: ...
    def reported(self, stage: str, item: Unit) -> None: ...
    def failed(self, *details: object) -> None:
        raise AssertionError(details)

    def lost(self, key: str) -> None: ...
    def tick(self, snapshot: object) -> None: ...


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(segments: int, body_bytes: int) -> CountingObserver:
    observer = CountingObserver(segments // SEGMENTS_PER_VIDEO)
    before = cpu_seconds(psutil.Process())
    pools = [PoolSpec(stage=Split(body_bytes), workers=1, cpus=0.2)]
    pools += [PoolSpec(stage=EmptyStage(name), workers=1, cpus=0.2, queue_items=32) for name in "bcde"]
    Engine(pools, observer).run()
    observer.driver_seconds -= before
    observer.total_seconds -= before
    return observer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("segments", type=int, nargs="*", default=[2000, 6000])
    parser.add_argument("--bytes", type=int, default=0, help="size of a segment's payload")
    arguments = parser.parse_args()
    few, many = (measure(count, arguments.bytes) for count in arguments.segments)
    more = (arguments.segments[1] - arguments.segments[0]) / 1000
    rate = (many.finished_count - 200) / (many.last_at - many.first_at)
    print(f"driver CPU   {(many.driver_seconds - few.driver_seconds) / more:.2f} ms per segment")
    print(f"total CPU    {(many.total_seconds - few.total_seconds) / more:.2f} ms per segment")
    print(f"rate         {rate:.0f} segments/s")
    print(f"driver RSS   {(many.last_rss - many.first_rss) / 1e6:+.1f} MB over {many.finished_count - 200}")


if __name__ == "__main__":
    # Import by name: cloudpickle sends classes of `__main__` by value, with every item.
    from mien.cluster.benchmarks import engine

    engine.main()
