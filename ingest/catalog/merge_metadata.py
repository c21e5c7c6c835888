"""Merges new metadata into known videos, such as labels from a table that is added later.

Labels are merged: new ones are added, existing ones are replaced by the latest value. A title, channel or
licence is only set if it was empty. Samples that exist are neither changed nor regenerated: the fingerprint
describes how samples are made, not what they contain.
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
_MERGE = (
    update(videos)
    .where(videos.c.key == bindparam("video"))
    .values(labels_json=bindparam("new_labels"), **{name: bindparam(f"new_{name}") for name in _NAMES})
)
_WRITTEN = (
    select(segments.c.video_key)
    .where(segments.c.video_key.in_(bindparam("keys", expanding=True)), segments.c.sample_count > 0)
    .distinct()
)


def merged(known: VideoRef, new: VideoRef) -> VideoRef:
    """`known` with the metadata that `new` adds."""
    names = {name: getattr(known, name) or getattr(new, name) for name in _NAMES}
    return replace(known, labels={**known.labels, **new.labels}, **names)


def merge(
    connection: Connection, now: float, stored: Iterable[Row[*tuple[Any, ...]]], new: Mapping[str, VideoRef]
) -> dict[str, bool]:
    """Keys of the `stored` videos that changed, and whether each has samples that exist or are being made."""
    changes, texts, running = [], [], set()
    for row in sorted(stored, key=lambda row: str(row.key)):
        video = new[row.key]
        before = json.loads(row.labels_json)
        after = {**before, **video.labels}
        names = {name: getattr(row, name) or getattr(video, name) for name in _NAMES}
        if after == before and all(getattr(row, name) == value for name, value in names.items()):
            continue
        values = {f"new_{name}": value for name, value in names.items()}
        changes.append({"video": row.key, "new_labels": json.dumps(after), **values})
        fresh = [f"{name}={value}" for name, value in after.items() if before.get(name) != value]
        texts.append((str(row.key), "learned", ", ".join(fresh) or "its name, channel or licence"))
        if row.state == RUNNING:
            running.add(row.key)
    if not changes:
        return {}
    connection.execute(_MERGE, changes)
    append_events(connection, now, NOBODY, texts)
    keys = [key for key, _, _ in texts]
    written = set(connection.scalars(_WRITTEN, {"keys": keys}))
    return {key: key in written or key in running for key in keys}
