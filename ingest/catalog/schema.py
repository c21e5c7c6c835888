"""The tables.

    runs        one row per run, and its lease; a video is leased for as long as the lease of its run lives
    videos      what was asked for, and its state
    queries     further queries that found a video which another query had found before
    media       what the stored file's content showed
    segments    one row per segment that has ended, and how
    shards      one row per committed tar
    tallies     running sums per run, so that nobody has to add up millions of segments to see the yield
    events      the story of each video
    egress      the standing of each egress identity: its pace, its circuit
    grants      what each identity was granted, and what it took: the log that the governor counts over
    cursors     whose turn it is

There are no foreign keys: the only writers are the transactions of this package, and on PostgreSQL each
inserted segment would lock its video's row for nothing.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
    literal_column,
    text,
)
from sqlalchemy.types import TypeDecorator

VERSION = 2

WAITING, RUNNING, DONE, PARTIAL, FAILED = "waiting", "running", "done", "partial", "failed"
VIDEO_STATES = (WAITING, RUNNING, DONE, PARTIAL, FAILED)

NO_FINGERPRINT = ""
"""Nothing of it has ended: any configuration may take it. (An IS NULL would not share the index.)"""


class CleanText(TypeDecorator[str]):
    """Text from the outside, which has NULs (PostgreSQL refuses them) and lone surrogates (UTF-8 does)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class PathText(TypeDecorator[str]):
    """A path or URI that must come back exactly, even if it is not UTF-8 (Python: lone surrogates)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        plain = not value.startswith('"') and "\0" not in value
        return value if plain and _is_utf8(value) else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and value.startswith('"'):
            decoded: Any = json.loads(value)
            return str(decoded)
        return value


def _is_utf8(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# Byte order on both databases, so that prefixes are ranges and names sort alike.
Key = String().with_variant(String(collation="C"), "postgresql")
Serial = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

schema_version = Table("mien_schema", metadata, Column("version", Integer, primary_key=True))

runs = Table(
    "runs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("fingerprint", Key, nullable=False),
    Column("config_json", Text, nullable=False),
    Column("host", CleanText, nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", CleanText),  # NULL while it runs
)
_running = text("outcome IS NULL")
Index("runs_live", runs.c.lease_until, sqlite_where=_running, postgresql_where=_running)

videos = Table(
    "videos",
    metadata,
    Column("seq", Serial, primary_key=True),  # the order in which they were added
    Column("key", Key, nullable=False, unique=True),
    Column("source", Key, nullable=False),
    Column("id", Key, nullable=False),
    Column("uri", PathText, nullable=False),
    Column("title", CleanText, nullable=False),
    Column("channel", CleanText, nullable=False),
    Column("licence", CleanText, nullable=False),
    Column("query", CleanText, nullable=False),
    Column("declared_seconds", Float),
    Column("labels_json", Text, nullable=False),
    # What each search that found it asks of it; []: nothing.
    Column("wanted_json", Text, nullable=False, server_default="[]"),
    Column("added_at", Float, nullable=False),
    Column("state", Key, nullable=False, default=WAITING),
    Column("run_id", Key),  # only while a run holds it
    Column("fingerprint", Key, nullable=False, default=NO_FINGERPRINT),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_try_at", Float, nullable=False, default=0.0),  # 0: not put off (only what waits is)
    Column("segment_count", Integer),  # NULL until the run that holds it has cut it
    Column("failed_seconds", Float, nullable=False, default=0.0),  # counted in tallies as lost with the video
    # Of a video that failed or waits for another try; the events keep what was before.
    Column("stage", CleanText),
    Column("error_class", CleanText),
    Column("error_text", CleanText),
    # Set while it can only be had from a platform, within an egress identity's budget.
    Column("governed", Boolean, nullable=False, default=False, server_default=false()),
    Column("media_uri", PathText),  # of the copy that is kept of it, if one is
)
# `claim` reads this index only as far as it takes; `status` counts over it without touching the rows.
Index(
    "videos_turn",
    videos.c.state,
    videos.c.governed,
    videos.c.fingerprint,
    videos.c.next_try_at,
    videos.c.seq,
)
# In the words of the index, which SQLite uses only where a query has the same. The state is within the
# expression, since beside it the planner prefers `videos_turn`, and sorts all that waits.
GOVERNED = text("governed")
LANE: ColumnElement[str] = literal_column(
    "(CASE WHEN state = 'waiting' THEN substr(query, 1, 200) END)", Text
)
"""Whose turn comes round: a query, as far as an index of PostgreSQL can hold it. NULL: it does not wait."""
Index("videos_governed", LANE, videos.c.seq, sqlite_where=GOVERNED, postgresql_where=GOVERNED)
_held = text("run_id IS NOT NULL")
Index("videos_held", videos.c.run_id, sqlite_where=_held, postgresql_where=_held)
PUT_OFF = text("next_try_at > 0")
Index("videos_put_off", videos.c.next_try_at, sqlite_where=PUT_OFF, postgresql_where=PUT_OFF)
_ailing = text("error_class IS NOT NULL")
Index("videos_errors", videos.c.error_class, sqlite_where=_ailing, postgresql_where=_ailing)
Index("videos_id", videos.c.id)
Index("videos_uri", videos.c.uri)

queries = Table(
    "queries",
    metadata,
    Column("video_key", Key, nullable=False),
    Column("query", CleanText, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("video_key", "query"),
)

media = Table(
    "media",
    metadata,
    Column("video_key", Key, primary_key=True),
    Column("sha256", Key, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("duration_seconds", Float, nullable=False),
    Column("probe_json", CleanText, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    Column("video_key", Key, nullable=False),
    Column("start_ms", Integer, nullable=False),
    Column("end_ms", Integer, nullable=False),
    Column("state", Key, nullable=False),  # done or failed
    Column("seconds_by_fate", Text, nullable=False),
    Column("sample_count", Integer, nullable=False),
    Column("shard", Key),
    Column("run_id", Key, nullable=False),
    Column("stage", CleanText),
    Column("error_class", CleanText),
    Column("error_text", CleanText),
    PrimaryKeyConstraint("video_key", "start_ms"),
)
Index(
    "segments_errors",
    segments.c.error_class,
    segments.c.video_key,
    sqlite_where=_ailing,
    postgresql_where=_ailing,
)

shards = Table(
    "shards",
    metadata,
    Column("name", Key, primary_key=True),
    Column("uri", PathText, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Key, nullable=False),
    Column("sample_count", Integer, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("sidecar", Boolean, nullable=False),
    Column("at", Float, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    # A row is written by its own run alone ("": by people), so drivers never wait for each other here.
    Column("run_id", Key, nullable=False),
    Column("name", Key, nullable=False),
    Column("value", Float, nullable=False),
    PrimaryKeyConstraint("run_id", "name"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Serial, primary_key=True),
    Column("at", Float, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("video_key", Key, nullable=False),
    Column("what", Key, nullable=False),
    Column("text", CleanText, nullable=False),
)
Index("events_video", events.c.video_key, events.c.seq)

_never = text("0")
egress = Table(
    "egress",
    metadata,
    Column("name", Key, primary_key=True),
    *(
        Column(name, Float, nullable=False, server_default=_never)
        for name in ("granted_at", "even_at", "paused_until", "cooldown_seconds", "closed_at", "succeeded_at")
    ),
    Column("strikes", Integer, nullable=False, server_default=_never),
    Column("mean_requests", Float, nullable=False),
    Column("mean_bytes", Float, nullable=False),
    Column("error_class", CleanText, nullable=False, server_default=""),
    Column("error_text", CleanText, nullable=False, server_default=""),
)

UNSETTLED = 1e18
"""`settled_at` while the video is under way: it is in every window. (A NULL would not be in the range.)"""

grants = Table(
    "grants",
    metadata,
    Column("seq", Serial, primary_key=True),
    Column("identity", Key, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("video_key", Key, nullable=False),
    Column("granted_at", Float, nullable=False),
    Column("settled_at", Float, nullable=False),
    Column("requests", BigInteger, nullable=False),  # reserved; once it is settled, what it took
    Column("bytes", BigInteger, nullable=False),
    Column("probe", Boolean, nullable=False),
)
Index("grants_window", grants.c.identity, grants.c.settled_at)
Index("grants_video", grants.c.video_key, grants.c.seq)
_unsettled = text("settled_at = 1e18")
Index("grants_unsettled", grants.c.run_id, sqlite_where=_unsettled, postgresql_where=_unsettled)

cursors = Table(
    "cursors",
    metadata,
    Column("name", Key, primary_key=True),
    Column("value", CleanText, nullable=False),
)
