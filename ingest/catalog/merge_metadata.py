"""What is said of a video that is known already: a table that is added later has labels for it.

Labels are merged: what is new is added, what is there under the same name is replaced by what was said last.
A title, channel or licence is taken where there is none yet. No sample that was written is touched, and none
is made again for it: a configuration's fingerprint says how samples are made, not of what.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from mien.ingest.catalog.counters import NOBODY
from mien.ingest.catalog.events import append_events
from mien.ingest.catalog.schema import RUNNING, segments, videos
from mien.ingest.media import VideoRef

_NAMES = ("title", "channel", "licence")
_LEARN = (
    update(videos)
    .where(videos.c.key == bindparam("video"))
    .values(labels_json=bindparam("new_labels"), **{name: bindparam(f"new_{name}") for name in _NAMES})
)
_WRITTEN = (
    select(segments.c.video_key)
    .where(segments.c.video_key.in_(bindparam("keys", expanding=True)), segments.c.sample_count > 0)
    .distinct()
)


def merged(known: VideoRef, said: VideoRef) -> VideoRef:
    """`known` with what `said` adds to it."""
    names = {name: getattr(known, name) or getattr(said, name) for name in _NAMES}
    return replace(known, labels={**known.labels, **said.labels}, **names)


def learn(
    connection: Connection, now: float, stored: Iterable[Row[*tuple[Any, ...]]], said: Mapping[str, VideoRef]
) -> dict[str, bool]:
    """Keys of the `stored` that learned something, and whether samples of each are there or being made."""
    changes, told, running = [], [], set()
    for row in sorted(stored, key=lambda row: str(row.key)):
        video = said[row.key]
        before = json.loads(row.labels_json)
        after = {**before, **video.labels}
        names = {name: getattr(row, name) or getattr(video, name) for name in _NAMES}
        if after == before and all(getattr(row, name) == value for name, value in names.items()):
            continue
        new = {f"new_{name}": value for name, value in names.items()}
        changes.append({"video": row.key, "new_labels": json.dumps(after), **new})
        fresh = [f"{name}={value}" for name, value in after.items() if before.get(name) != value]
        told.append((str(row.key), "learned", ", ".join(fresh) or "its name, channel or licence"))
        if row.state == RUNNING:
            running.add(row.key)
    if not changes:
        return {}
    connection.execute(_LEARN, changes)
    append_events(connection, now, NOBODY, told)
    keys = [key for key, _, _ in told]
    written = set(connection.scalars(_WRITTEN, {"keys": keys}))
    return {key: key in written or key in running for key in keys}
