"""Errors by class, and retrying of failed videos and segments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, select, true, update

from mien.ingest.catalog import counters, duplicates, runs
from mien.ingest.catalog.events import append_events
from mien.ingest.catalog.schema import FAILED, PARTIAL, RUNNING, WAITING, segments, videos

# A video in backoff also has an error, and a person may not want to wait for it.
_FAILED_VIDEO = videos.c.error_class.is_not(None)
_FAILED_SEGMENT = segments.c.error_class.is_not(None)
_RESET = (
    update(videos)
    .where(videos.c.key == bindparam("video"))
    .values(
        state=WAITING,
        fingerprint=runs.FREED_FINGERPRINT,
        attempts=0,
        next_try_at=0.0,
        failed_seconds=0.0,
        stage=None,
        error_class=None,
        error_text=None,
    )
)
_FORGET = delete(segments).where(
    segments.c.video_key == bindparam("video"), segments.c.start_ms == bindparam("start")
)


def error_classes(connection: Connection) -> dict[str, int]:
    """Failures by class, most frequent first: of videos (including those that wait for a retry) and
    segments."""
    counts = Counter(video_errors(connection))
    counts.update(segment_errors(connection))
    return dict(counts.most_common())


def video_errors(connection: Connection) -> dict[str, int]:
    return _counts(connection, videos.c.error_class, _FAILED_VIDEO)


def retrying(connection: Connection) -> dict[str, int]:
    """The part of `video_errors` that is not final: videos that wait for a retry or are running."""
    return _counts(
        connection, videos.c.error_class, and_(_FAILED_VIDEO, videos.c.state.in_([WAITING, RUNNING]))
    )


def segment_errors(connection: Connection) -> dict[str, int]:
    return _counts(connection, segments.c.error_class, _FAILED_SEGMENT)


def retry(connection: Connection, now: float, error_class: str | None, key: str | None) -> int:
    """Returns the number of videos that wait again. Skips running videos. Skips duplicates, unless the key or
    their class is given."""
    failed_videos = (
        select(videos.c.key, videos.c.error_class, videos.c.failed_seconds)
        .where(_FAILED_VIDEO, *_only(videos.c.error_class, error_class), *_only(videos.c.key, key))
        .where(true() if error_class or key else videos.c.error_class != duplicates.ERROR_CLASS)
        .order_by(videos.c.key)
        .with_for_update()
    )
    found = {row.key: row for row in connection.execute(failed_videos)}
    failed = (
        select(segments.c.video_key, segments.c.start_ms, segments.c.error_class, segments.c.seconds_by_fate)
        .add_columns(videos.c.state.label("video_state"))
        .join_from(segments, videos, videos.c.key == segments.c.video_key)
        .where(_FAILED_SEGMENT, videos.c.state.in_([PARTIAL, WAITING, FAILED]))
        .where(*_only(segments.c.error_class, error_class), *_only(segments.c.video_key, key))
        .order_by(segments.c.video_key, segments.c.start_ms)
        .with_for_update(of=videos)
    )
    # If a video failed for another reason, its segments stay as they are, because it will not run.
    reset_segments = [
        row for row in connection.execute(failed) if row.video_state != FAILED or row.video_key in found
    ]
    texts_by_video = {video_key: [str(row.error_class)] for video_key, row in found.items()}
    for row in reset_segments:
        texts_by_video.setdefault(row.video_key, []).append(f"{row.start_ms:09d} {row.error_class}")
    if not texts_by_video:
        return 0
    if reset_segments:
        connection.execute(
            _FORGET, [{"video": row.video_key, "start": row.start_ms} for row in reset_segments]
        )
    reset(connection, texts_by_video)
    append_events(
        connection,
        now,
        counters.NOBODY,
        [(key, "retried", ", ".join(texts)) for key, texts in texts_by_video.items()],
    )
    lost: list[dict[str, float]] = [json.loads(row.seconds_by_fate) for row in reset_segments]
    lost += [{counters.FAILED: row.failed_seconds} for row in found.values()]
    counters.add(connection, counters.NOBODY, counters.fates((), lost))
    return len(texts_by_video)


def reset(connection: Connection, video_keys: Iterable[str]) -> None:
    """Makes the videos wait as if they had never failed."""
    connection.execute(_RESET, [{"video": video_key} for video_key in video_keys])


def _only(column: ColumnElement[Any], value: str | None) -> list[ColumnElement[bool]]:
    return [] if value is None else [column == value]


def _counts(
    connection: Connection, error_class: ColumnElement[Any], condition: ColumnElement[bool]
) -> dict[str, int]:
    statement = (
        select(error_class.label("name"), func.count().label("failures"))
        .where(condition)
        .group_by(error_class)
    )
    counts = Counter({row.name: row.failures for row in connection.execute(statement)})
    return dict(counts.most_common())
