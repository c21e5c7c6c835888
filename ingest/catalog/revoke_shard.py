"""Taking a committed shard back: what was in it is to be made again."""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete, select

from mien.ingest.catalog import counters, retries
from mien.ingest.catalog.events import append_events
from mien.ingest.catalog.schema import RUNNING, segments, shards, videos
from mien.ingest.errors import CatalogError


def revoke(connection: Connection, now: float, name: str) -> int:
    """Number of videos that wait again because segments of theirs were in the shard called `name`.

    Raises CatalogError while a run works on one of them: it counts on the segments that it knows to be done.
    """
    inside = connection.execute(
        select(segments.c.video_key, segments.c.start_ms, segments.c.seconds_by_fate, videos.c.state)
        .join_from(segments, videos, videos.c.key == segments.c.video_key)
        .where(segments.c.shard == name)
        .with_for_update(of=videos)
    ).all()
    busy = sorted({row.video_key for row in inside if row.state == RUNNING})
    if busy:
        raise CatalogError(f"shard {name}: a run is at work on {busy[0]}; stop it, then repair")
    connection.execute(delete(segments).where(segments.c.shard == name))
    connection.execute(delete(shards).where(shards.c.name == name))
    keys = sorted({row.video_key for row in inside})
    if keys:
        retries.reset(connection, keys)
        append_events(
            connection, now, counters.NOBODY, [(key, "taken back", f"shard {name}") for key in keys]
        )
    deltas = counters.fates((), [json.loads(row.seconds_by_fate) for row in inside])
    deltas[counters.SEGMENTS_DONE] = -float(len(inside))
    counters.add(connection, counters.NOBODY, deltas)
    return len(keys)
