"""The tables.

    runs          one row per run, with its lease; a run holds its videos for as long as its lease lives
    videos        the videos that were added, and the state of each
    queries       further queries that found a video that an earlier query had already found
    media         facts from probing the content of the stored file
    segments      one row per finished segment, with its result
    shards        one row per committed tar
    run_counters  running sums per run, so that the yield is known without adding up millions of segments
    events        the history of each video
    egress        the pace and the circuit of each egress identity on each platform
    grants        what each identity was granted on each platform, and what it used: the governor's log
    round_robin   the query whose video was claimed last, per platform

There are no foreign keys. The only writers are the transactions of this package, and on PostgreSQL every
inserted segment would lock the row of its video without any benefit.
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
    literal_column,
    text,
)
from sqlalchemy.types import TypeDecorator

VERSION = 3

WAITING, RUNNING, DONE, PARTIAL, FAILED = "waiting", "running", "done", "partial", "failed"
VIDEO_STATES = (WAITING, RUNNING, DONE, PARTIAL, FAILED)

NO_FINGERPRINT = ""
"""No part of the video is finished, so any configuration may take it. (NULL could not share the index.)"""


class CleanText(TypeDecorator[str]):
    """External text. Replaces NULs (PostgreSQL refuses them) and lone surrogates (UTF-8 cannot hold them)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class PathText(TypeDecorator[str]):
    """A path or URI that must be read back exactly, even if it is not UTF-8 (lone surrogates in Python)."""

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


# Both databases compare keys by bytes, so prefixes are ranges and names sort the same way.
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
    # The filters of each search that found it; []: none.
    Column("filters_json", Text, nullable=False, server_default="[]"),
    Column("added_at", Float, nullable=False),
    Column("state", Key, nullable=False, default=WAITING),
    Column("run_id", Key),  # set while a run holds it
    Column("fingerprint", Key, nullable=False, default=NO_FINGERPRINT),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_try_at", Float, nullable=False, default=0.0),  # 0: not postponed (only waiting videos are)
    Column("segment_count", Integer),  # NULL until the run that holds it has split it
    Column(
        "failed_seconds", Float, nullable=False, default=0.0
    ),  # counted in run_counters as lost with the video
    # The last error of a video that failed or waits for another try; the events keep earlier ones.
    Column("stage", CleanText),
    Column("error_class", CleanText),
    Column("error_text", CleanText),
    # The platform whose budgets apply while the video must be fetched from it; "": no budget applies.
    Column("rate_limited_source", Key, nullable=False, default="", server_default=""),
    Column("media_uri", PathText),  # the retained copy, if there is one
)
# `claim` reads only as many entries of this index as it takes; `status` counts entries without reading rows.
Index(
    "videos_claim",
    videos.c.state,
    videos.c.rate_limited_source,
    videos.c.fingerprint,
    videos.c.next_try_at,
    videos.c.seq,
)
# SQLite uses a partial index only if the query repeats the condition of the index literally. The state is
# part of the expression: as a column of its own, it makes the planner choose `videos_claim` and sort all
# waiting rows.
IS_RATE_LIMITED = text("rate_limited_source <> ''")
QUEUE_KEY: ColumnElement[str] = literal_column(
    "(CASE WHEN state = 'waiting' THEN substr(query, 1, 200) END)", Text
)
"""The query of a waiting video, cut to what an index of PostgreSQL can hold; NULL: not waiting."""
Index(
    "videos_rate_limited",
    videos.c.rate_limited_source,
    QUEUE_KEY,
    videos.c.seq,
    sqlite_where=IS_RATE_LIMITED,
    postgresql_where=IS_RATE_LIMITED,
)
_held = text("run_id IS NOT NULL")
Index("videos_held", videos.c.run_id, sqlite_where=_held, postgresql_where=_held)
PUT_OFF = text("next_try_at > 0")
Index("videos_put_off", videos.c.next_try_at, sqlite_where=PUT_OFF, postgresql_where=PUT_OFF)
_has_error = text("error_class IS NOT NULL")
Index("videos_errors", videos.c.error_class, sqlite_where=_has_error, postgresql_where=_has_error)
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
    sqlite_where=_has_error,
    postgresql_where=_has_error,
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

run_counters = Table(
    "run_counters",
    metadata,
    # Only the run itself writes its rows ("": commands of people), so drivers never block each other here.
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

_zero = text("0")
egress = Table(
    "egress",
    metadata,
    Column("name", Key, nullable=False),
    Column("platform", Key, nullable=False),
    *(
        Column(name, Float, nullable=False, server_default=_zero)
        for name in ("granted_at", "even_at", "paused_until", "cooldown_seconds", "closed_at", "succeeded_at")
    ),
    Column("strikes", Integer, nullable=False, server_default=_zero),
    Column("mean_requests", Float, nullable=False),
    Column("mean_bytes", Float, nullable=False),
    Column("error_class", CleanText, nullable=False, server_default=""),
    Column("error_text", CleanText, nullable=False, server_default=""),
    PrimaryKeyConstraint("name", "platform"),
)

UNSETTLED = 1e18
"""`settled_at` of a grant in use: it counts in every window. (A NULL would not be in the range.)"""

grants = Table(
    "grants",
    metadata,
    Column("seq", Serial, primary_key=True),
    Column("identity", Key, nullable=False),
    Column("platform", Key, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("video_key", Key, nullable=False),
    Column("granted_at", Float, nullable=False),
    Column("settled_at", Float, nullable=False),
    Column("requests", BigInteger, nullable=False),  # the reserve; the actual usage once settled
    Column("bytes", BigInteger, nullable=False),
    Column("probe", Boolean, nullable=False),
)
Index("grants_in_window", grants.c.identity, grants.c.platform, grants.c.settled_at)
Index("grants_video", grants.c.video_key, grants.c.seq)
_unsettled = text("settled_at = 1e18")
Index("grants_unsettled", grants.c.run_id, sqlite_where=_unsettled, postgresql_where=_unsettled)

round_robin = Table(
    "round_robin",
    metadata,
    Column("platform", Key, primary_key=True),
    Column("queue_key", CleanText, nullable=False),
)
