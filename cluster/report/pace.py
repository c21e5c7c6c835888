"""How far a run is, as it is told beside the bar of its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.cluster.report.funnel import clock
from mien.ingest.catalog.duplicates import DUPLICATE
from mien.pipelines.data import KEPT

if TYPE_CHECKING:
    from mien.cluster.engine import Snapshot
    from mien.ingest.catalog import Status

_ENDED = ("done", "partial", "failed", DUPLICATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    completed: float
    total: float
    """In the unit of `completed`; 0 while it is not known."""
    told: str


def of_media(status: Status, snapshot: Snapshot, *, before: Status, seconds: float, elapsed: float) -> Pace:
    """By seconds of media, of which `seconds` are through in this run, that began `elapsed` seconds ago with
    what `before` told."""
    total = sum(status.videos.values())
    probed = total - status.videos["waiting"]
    # What is not probed yet is taken to be as long, one with another, as what is.
    all_seconds = status.media_seconds * total / probed if probed else 0.0
    done = sum(before.seconds_by_fate.values()) + seconds
    rate = seconds / max(1e-9, elapsed)
    parts = [f"{_ended(status)}/{total} videos", f"{clock(seconds)} of media", f"{rate:.1f}× real time"]
    if rate > 0:
        parts.append(f"ETA {clock(max(0.0, all_seconds - done) / rate)}")
    told = sum(status.seconds_by_fate.values())
    # Before the first shard is committed only losses are known.
    if status.shards and told:
        parts.append(f"yield {status.seconds_by_fate.get(KEPT, 0.0) / told:.0%}")
    return Pace(completed=min(done, all_seconds), total=all_seconds, told=_joined(parts, status, snapshot))


def of_fetching(status: Status, snapshot: Snapshot, *, before: Status, elapsed: float) -> Pace:
    """By videos, of a run that only fetches: what is fetched is through, though not a second is processed."""
    total = sum(status.videos.values())
    pool = snapshot.pools[0]
    # A duplicate has ended, and was fetched as well.
    again = max(0, status.videos[DUPLICATE] - before.videos[DUPLICATE])
    through = min(total, _ended(status) + max(0, pool.done - again))
    rate = (pool.done + pool.failed) / max(1e-9, elapsed)
    parts = [f"{through}/{total} videos"]
    if rate > 0:
        pace = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
        parts += [pace, f"ETA {clock((total - through) / rate)}"]
    return Pace(completed=through, total=total, told=_joined(parts, status, snapshot))


def _ended(status: Status) -> int:
    return sum(status.videos[state] for state in _ENDED)


def _joined(parts: list[str], status: Status, snapshot: Snapshot) -> str:
    failed = status.videos["failed"] + sum(status.segment_errors.values())
    pools = " ".join(f"{pool.name} {pool.busy}+{pool.queued}" for pool in snapshot.pools)
    return " · ".join([*parts, *([f"{failed} failed"] if failed else []), pools])
