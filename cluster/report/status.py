"""The state of a store, as text for people and as plain values for programs."""

from __future__ import annotations

import datetime
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mien.cluster.report.formatting import format_bytes, format_duration, pluralize, terminal_safe
from mien.cluster.report.funnel import funnel, funnel_lines

if TYPE_CHECKING:
    from mien.cluster.runner.run import RunResult
    from mien.ingest.catalog import CatalogStatus, VideoHistory


def status_facts(status: CatalogStatus) -> dict[str, Any]:
    return {
        "videos": status.videos,
        "segments": status.segments,
        "video_errors": status.video_errors,
        "retrying": status.retrying,
        "segment_errors": status.segment_errors,
        "media_seconds": round(status.media_seconds, 3),
        "seconds_by_fate": {fate: round(s, 3) for fate, s in status.seconds_by_fate.items()},
        "funnel": [
            {"step": step.name, "seconds": round(step.seconds, 3), "share": round(step.share, 4)}
            for step in funnel(status.seconds_by_fate)
        ],
        "shards": status.shards,
        "samples": status.samples,
        "bytes": status.bytes,
        "live_runs": status.live_runs,
        "next_try_at": status.next_try_at,
        "fingerprints": status.videos_by_fingerprint,
    }


def status_lines(status: CatalogStatus, shards_uri: str, acquisition: Sequence[str] = ()) -> list[str]:
    """`acquisition`: the lines on downloads from platforms (platform_usage.py)."""
    states = ", ".join(f"{count:,} {state}" for state, count in status.videos.items() if count)
    lines = [f"videos    {states or 'none; add some with `mien add` or `mien search`'}"]
    if status.live_runs:
        lines.append(f"running   {', '.join(status.live_runs)}")
    if status.next_try_at is not None:
        wait = format_duration(max(0.0, status.next_try_at - time.time()))
        scheduled = f"{pluralize(status.put_off, 'video')} scheduled for later; " if status.put_off else ""
        lines.append(f"waiting   {scheduled}the next retry is due in {wait}")
    lines += acquisition
    for name, count in status.retrying.items():
        lines.append(f"retrying  {pluralize(count, 'video')}: {name} (retried automatically)")
    final = {name: count - status.retrying.get(name, 0) for name, count in status.video_errors.items()}
    for noun, errors in (("video", final), ("segment", status.segment_errors)):
        for name, count in errors.items():
            if count:
                lines.append(f"failed    {pluralize(count, noun)}: {name} (mien retry --class {name})")
    if status.seconds_by_fate:
        lines += ["yield", *funnel_lines(status.seconds_by_fate)]
    if status.shards:
        total = f"{status.shards:,} with {pluralize(status.samples, 'sample')}, {format_bytes(status.bytes)}"
    else:
        total = "none yet; `mien run` creates them" if _has_work_left(status) else "none"
    lines.append(f"shards    {total}, in {shards_uri}")
    if len(status.videos_by_fingerprint) > 1:
        lines.append(
            f"configs   the samples come from {len(status.videos_by_fingerprint)} different configurations"
        )
    return lines


def _has_work_left(status: CatalogStatus) -> bool:
    return status.videos["waiting"] + status.videos["running"] > 0


def result_lines(result: RunResult, shards_uri: str, acquisition: Sequence[str] = ()) -> list[str]:
    """What `mien run` prints at its end."""
    lines = [f"run {result.run_id} took {format_duration(result.seconds)}"]
    if (name := signal_name(result)) is not None:
        lines.append(f"stopped   by {name}; committed shards remain; rerun to resume")
    lines += status_lines(result.status, shards_uri, acquisition)
    if count := result.other_fingerprint_videos:
        lines.append(
            f"skipped   {pluralize(count, 'video')} started with another configuration; "
            "rerun with that configuration, or choose another store.root"
        )
    return lines


def signal_name(result: RunResult) -> str | None:
    """The name of the signal that stopped the run, if any."""
    return None if result.signal is None else signal.Signals(result.signal).name


def history_lines(history: VideoHistory) -> list[str]:
    """Everything that the catalog knows about one video. Its events are listed oldest first."""
    video = history.video
    lines = [f"{video.key}  {history.state}", f"  source    {video.uri!r}"]
    if video.title:
        parts = [video.title, *(each for each in (video.channel, video.licence) if each)]
        lines.append(f"  title     {', '.join(map(terminal_safe, parts))}")
    if history.queries:
        lines.append(f"  found by  {', '.join(repr(query) for query in history.queries)}")
    if video.labels:
        lines.append(f"  labels    {video.labels}")
    if history.media is not None:
        media = history.media
        duration = format_duration(media.duration_seconds)
        lines.append(f"  media     {duration}, {media.bytes:,} bytes, sha256 {media.sha256[:16]}…")
    if history.error_class:
        lines.append(
            f"  error     {history.error_class} in {history.stage or '?'} (attempt {history.attempts})"
        )
        lines.append(f"            {headline(history.error_text)}")
    if history.next_try_at is not None:
        lines.append(f"  next try  {_timestamp(history.next_try_at)}")
    for segment in history.segments:
        span = f"{format_duration(segment.start_ms / 1000)}–{format_duration(segment.end_ms / 1000)}"
        lines.append(f"  segment   {span}  {segment.state}, {pluralize(segment.sample_count, 'sample')}")
        fates = ", ".join(f"{format_duration(s)} {fate}" for fate, s in segment.seconds_by_fate.items())
        if fates:
            lines.append(f"            {fates}")
        if segment.shard:
            lines.append(f"            in {segment.shard}")
        if segment.error_class:
            lines.append(
                f"            {segment.error_class} in {segment.stage}: {headline(segment.error_text)}"
            )
    lines += [
        f"  {_timestamp(event.at)}  {event.what} {headline(event.text)}".rstrip() for event in history.events
    ]
    raw = [history.error_text, *(segment.error_text for segment in history.segments)]
    for text in dict.fromkeys(text for text in raw if text and "\n" in text):
        lines += ["  raw error", *(f"    {line}" for line in text.splitlines()[1:])]
    return lines


def headline(text: str | None) -> str:
    """The first line of a recorded error, which is for people. The raw error follows below it."""
    return (text or "").partition("\n")[0]


def _timestamp(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")
