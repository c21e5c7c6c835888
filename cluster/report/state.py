"""The state of a store: as text for people, as plain values for programs."""

from __future__ import annotations

import datetime
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mien.cluster.report.funnel import clock, funnel, funnel_lines
from mien.cluster.report.sizes import size

if TYPE_CHECKING:
    from mien.cluster.runner.run import RunResult
    from mien.ingest.catalog import Status, Story


def status_facts(status: Status) -> dict[str, Any]:
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


def status_lines(status: Status, shards_uri: str, acquisition: Sequence[str] = ()) -> list[str]:
    """`acquisition`: lines on what is asked of platforms (acquisition.py)."""
    states = ", ".join(f"{count} {state}" for state, count in status.videos.items() if count)
    lines = [f"videos    {states or 'none: add some with `mien add`'}"]
    if status.live_runs:
        lines.append(f"running   {', '.join(status.live_runs)}")
    if status.next_try_at is not None:
        wait = max(0.0, status.next_try_at - time.time())
        put_off = f"{status.put_off} put off, " if status.put_off else ""
        lines.append(f"waiting   {put_off}the next retry is due in {clock(wait)}")
    lines += acquisition
    for name, count in status.retrying.items():
        lines.append(f"retrying  {count} video{'s' if count > 1 else ''}: {name}, by itself")
    final = {name: count - status.retrying.get(name, 0) for name, count in status.video_errors.items()}
    for title, errors in (("videos", final), ("segments", status.segment_errors)):
        for name, count in errors.items():
            if count:
                noun = title if count > 1 else title[:-1]
                lines.append(f"failed    {count} {noun}: {name} (mien retry --class {name})")
    if status.seconds_by_fate:
        lines += ["yield", *funnel_lines(status.seconds_by_fate)]
    if status.shards:
        made = f"{status.shards} with {status.samples} samples, {size(status.bytes)}"
    else:
        made = "none yet: `mien run` makes them" if _is_left(status) else "none"
    lines.append(f"shards    {made}, in {shards_uri}")
    if len(status.videos_by_fingerprint) > 1:
        lines.append(f"configs   {len(status.videos_by_fingerprint)} made this store's samples")
    return lines


def _is_left(status: Status) -> bool:
    return status.videos["waiting"] + status.videos["running"] > 0


def result_lines(result: RunResult, shards_uri: str, acquisition: Sequence[str] = ()) -> list[str]:
    lines = [f"run {result.run_id} took {clock(result.seconds)}"]
    if (name := stopped_by(result)) is not None:
        lines.append(f"stopped   by {name}: what was done stays, run again to go on")
    lines += status_lines(result.status, shards_uri, acquisition)
    if result.elsewhere:
        lines.append(
            f"left alone {result.elsewhere} videos that were begun under another configuration: "
            "run with that one, or choose another store.root"
        )
    return lines


def stopped_by(result: RunResult) -> str | None:
    """The signal's name."""
    return None if result.signal is None else signal.Signals(result.signal).name


def story_lines(story: Story) -> list[str]:
    """Everything that is known of one video, oldest first."""
    from mien.cluster.report.found import shown

    video = story.video
    lines = [f"{video.key}  {story.state}", f"  from      {video.uri!r}"]
    if video.title:
        told = [video.title, *(each for each in (video.channel, video.licence) if each)]
        lines.append(f"  title     {', '.join(map(shown, told))}")
    if story.queries:
        lines.append(f"  found by  {', '.join(repr(query) for query in story.queries)}")
    if video.labels:
        lines.append(f"  labels    {video.labels}")
    if story.media is not None:
        media = story.media
        lines.append(
            f"  media     {clock(media.duration_seconds)}, {media.bytes:,} bytes, sha256 {media.sha256[:16]}…"
        )
    if story.error_class:
        lines.append(f"  error     {story.error_class} in {story.stage or '?'} (attempt {story.attempts})")
        lines.append(f"            {headline(story.error_text)}")
    if story.next_try_at is not None:
        lines.append(f"  next try  {_when(story.next_try_at)}")
    for segment in story.segments:
        span = f"{clock(segment.start_ms / 1000)}–{clock(segment.end_ms / 1000)}"
        lines.append(f"  segment   {span}  {segment.state}, {segment.sample_count} samples")
        fates = ", ".join(f"{clock(s)} {fate}" for fate, s in segment.seconds_by_fate.items())
        if fates:
            lines.append(f"            {fates}")
        if segment.shard:
            lines.append(f"            in {segment.shard}")
        if segment.error_class:
            lines.append(
                f"            {segment.error_class} in {segment.stage}: {headline(segment.error_text)}"
            )
    lines += [f"  {_when(event.at)}  {event.what} {headline(event.text)}".rstrip() for event in story.events]
    raw = [story.error_text, *(segment.error_text for segment in story.segments)]
    for text in dict.fromkeys(text for text in raw if text and "\n" in text):
        lines += ["  as raised", *(f"    {line}" for line in text.splitlines()[1:])]
    return lines


def headline(text: str | None) -> str:
    """The line for people; below it, an error's text keeps what was really raised."""
    return (text or "").partition("\n")[0]


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")
