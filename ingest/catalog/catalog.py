"""The catalog: one object. Each method is one transaction.

Methods may be called from several threads. They raise CatalogError if the database fails, and LeaseLostError
(`.lost` has the keys) if a run writes to videos that it no longer holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Self

from mien.ingest.catalog import (
    audio_duplicates,
    claims,
    egress,
    listings,
    manual_retry,
    progress,
    queue,
    retained_media,
    revoke_shard,
    runs,
    segments,
    settlement,
    shard_records,
    views,
)
from mien.ingest.catalog.database import PATIENCE_SECONDS, Database
from mien.ingest.catalog.records import (
    AddResult,
    EgressStatus,
    MediaRecord,
    PageGrant,
    Paused,
    SegmentFailure,
    SegmentRecord,
    ShardRecord,
    Usage,
    VideoFailure,
)
from mien.ingest.media import Job, VideoRef
from mien.ingest.rate.identity import Identity


class Catalog:
    """Requested videos, their outcomes, and committed shards. Create it with `Catalog.open`."""

    def __init__(self, database: Database, *, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    def open(
        cls, url: str, *, clock: Callable[[], float] = time.time, patience_seconds: float = PATIENCE_SECONDS
    ) -> Catalog:
        """`url`: sqlite:////absolute/path.db or postgresql://user:password@host/database. If the server
        becomes unreachable later, transactions are retried for `patience_seconds`.

        Raises CatalogError: invalid URL, no connection, or another schema.
        """
        database = Database(url, patience_seconds=patience_seconds)
        database.prepare()
        return cls(database, clock=clock)

    def close(self) -> None:
        self._database.close()

    def when_back(self, call: Callable[[], None] | None) -> None:
        """Sets a callback that is called first when an unreachable server answers again."""
        self._database.on_return = call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def add(self, refs: Iterable[VideoRef]) -> AddResult:
        """Adds new videos, and merges queries and labels into known ones. See merge_metadata.py."""
        return queue.add(self._database, self._clock(), refs)

    def begin_run(self, *, fingerprint: str, config_json: str, host: str, lease_seconds: float) -> str:
        """Returns a run id: [0-9a-z]{14}, sorted by time."""
        now = self._clock()
        begin = partial(runs.begin, fingerprint=fingerprint, config_json=config_json, host=host)
        return self._database.write(lambda connection: begin(connection, now, lease_seconds=lease_seconds))

    def heartbeat(self, run_id: str) -> None:
        """Extends the lease of everything the run holds. LeaseLostError if the run was ended by another."""
        now = self._clock()
        self._database.repeat(lambda connection: runs.heartbeat(connection, now, run_id))

    def end_run(self, run_id: str, outcome: str) -> None:
        """Ends the run. Videos that it holds wait again. A run that has ended is unchanged."""
        now = self._clock()
        self._database.repeat(lambda connection: runs.end(connection, now, run_id, outcome))

    def live_runs(self) -> list[str]:
        now = self._clock()
        return self._database.read(lambda connection: runs.live(connection, now))

    def end_dead_runs(self, known_dead: Collection[str] = ()) -> set[str]:
        """Ends runs with an expired lease, and runs that the caller knows to be dead. Returns the other runs.
        Any run that is not returned can no longer commit, whatever its process does."""
        now = self._clock()
        return self._database.repeat(lambda connection: runs.end_dead(connection, now, known_dead))

    def known_runs(self, run_ids: Collection[str]) -> set[str]:
        """The subset of `run_ids` that this catalog contains, ended or not."""
        return self._database.read(lambda connection: runs.known(connection, run_ids))

    def revoke_shard(self, name: str) -> int:
        """Invalidates a committed shard; returns the number of videos that wait again.

        Raises CatalogError while a run works on one of them.
        """
        now = self._clock()
        return self._database.write(lambda connection: revoke_shard.revoke(connection, now, name))

    def holders(self) -> dict[str, float]:
        """The runs that hold videos, and when each lease expires (seconds since the epoch)."""
        return self._database.read(runs.holders)

    def claim(
        self,
        run_id: str,
        *,
        limit: int,
        identities: Sequence[Identity] = (),
        asking: int | None = None,
        only_local: bool = False,
    ) -> list[Job]:
        """Up to `limit` videos that wait, or whose run is dead, and that belong to no other configuration.

        Videos of platforms come first: each needs a grant of one of the `identities`, there are at most
        `asking` of them, and their queries take turns. Then come the others (with `only_local`, without those
        that must be fetched): started, postponed and due, and new videos, each oldest first.
        `Job.done_starts_ms` are all segments that have ended, including failed ones; only `retry` resets
        those.
        """
        now, most = self._clock(), limit if asking is None else asking
        take = partial(claims.claim, limit=limit, asking=most, identities=identities, only_local=only_local)
        return self._database.once(lambda connection, doubt: take(connection, now, run_id, in_doubt=doubt))

    def settle(self, run_id: str, video_key: str, usage: Usage) -> Paused | None:
        """Settles the run's last grant for the video. Returns the pause if the identity was refused."""
        now = self._clock()
        settle = partial(settlement.settle, now=now, run_id=run_id, video_key=video_key, usage=usage)
        return self._database.once(lambda connection, doubt: settle(connection, in_doubt=doubt), durable=True)

    def grant_page(self, identity: Identity, platform: str, *, is_first: bool) -> PageGrant:
        """A grant for a page of a list (`is_first`: its first page), or the time when one is possible."""
        now = self._clock()
        return self._database.repeat(
            lambda connection: listings.grant_page(connection, now, identity, platform, is_first=is_first),
            durable=True,
        )

    def settle_page(self, number: int, identity: Identity, usage: Usage) -> None:
        """Settles the page's usage. A refusal opens the circuit of the identity on the platform."""
        now = self._clock()
        self._database.repeat(
            lambda connection: listings.settle_page(connection, now, number, identity, usage),
            durable=True,
        )

    def rate_limited_at(
        self, *, fingerprint: str, identities: Sequence[Identity]
    ) -> tuple[float | None, float | None]:
        """When a run of `fingerprint` may get another platform video: first for videos that are due (when an
        identity is expected to have room), then for postponed videos. None: there are none."""
        now = self._clock()
        return self._database.read(
            lambda connection: claims.rate_limited_at(connection, now, fingerprint, identities)
        )

    def has_waiting(self, *sources: str) -> bool:
        """Whether any video of these sources waits. Slow: may read every waiting video."""
        return self._database.read(lambda connection: queue.has_waiting(connection, sources))

    def waiting_hosts(self, source: str) -> set[tuple[str, str]]:
        """Scheme and host of the waiting addresses of `source`. Slow: reads every waiting video."""
        return self._database.read(lambda connection: queue.waiting_hosts(connection, source))

    def egress(self, identities: Sequence[Identity], platform: str) -> list[EgressStatus]:
        """The budget and circuit of each identity on the platform, in the given order."""
        now = self._clock()
        return self._database.read(
            lambda connection: egress.statuses(connection, now, identities, [platform])
        )

    def egress_everywhere(self, identities: Sequence[Identity]) -> list[EgressStatus]:
        """Like `egress`, for each platform that was used or has waiting videos, ordered by platform."""
        now = self._clock()
        return self._database.read(
            lambda connection: egress.statuses(
                connection, now, identities, egress.platforms_in_use(connection)
            )
        )

    def reopen(self, identity: str, platform: str | None = None) -> list[str]:
        """Ends the pauses of an identity, on one platform or on all; returns the platforms concerned."""
        return self._database.write(lambda connection: settlement.reopen(connection, identity, platform))

    def record_retained(self, run_id: str, video_key: str, uri: str) -> None:
        """Records that a copy of the video's media is retained at `uri`, so that it is not downloaded
        again."""
        now = self._clock()
        self._database.repeat(
            lambda connection: retained_media.record(connection, now, run_id, video_key, uri)
        )

    def forget_retained(self, run_id: str, video_key: str) -> None:
        """Records that the retained copy is missing or damaged."""
        now = self._clock()
        self._database.repeat(lambda connection: retained_media.forget(connection, now, run_id, video_key))

    def states(self, video_keys: Collection[str]) -> dict[str, str]:
        """The state of each known video: waiting, running, done, partial or failed."""
        return self._database.read(lambda connection: retained_media.states(connection, video_keys))

    def media_room(self, *, with_waiting: bool = False) -> retained_media.MediaRoom:
        """The bytes of fetched media, by purpose. `with_waiting` is slow: it reads every waiting video."""
        return self._database.read(partial(retained_media.media_room, with_waiting=with_waiting))

    def next_try_at(self, *, fingerprint: str | None = None) -> float | None:
        """The earliest future time at which a postponed video is due. With a fingerprint: only videos that a
        run of it could claim without an identity, including those already due. None means there are none."""
        now = self._clock()
        return self._database.read(lambda connection: queue.next_try_at(connection, now, fingerprint))

    def other_fingerprint_count(self, fingerprint: str) -> int:
        """Number of videos that were started, finished or failed under another configuration."""
        return self._database.read(lambda connection: queue.other_fingerprint_count(connection, fingerprint))

    def record_media(
        self, run_id: str, video_key: str, info: MediaRecord, *, unique: bool = False
    ) -> str | None:
        """Returns None if the run continues with the video. With `unique`, if another video of this
        configuration has the same bytes: ends this one as DuplicateMediaError and returns the other's key."""
        now = self._clock()
        record = partial(
            progress.record_media, now=now, run_id=run_id, key=video_key, info=info, unique=unique
        )
        return self._database.once(lambda connection, doubt: record(connection, in_doubt=doubt))

    def record_print(self, video_key: str, sound_print: bytes) -> None:
        """Stores the audio fingerprint (ingest/fetch/sound_print.py), which finds similar videos."""
        self._database.repeat(
            lambda connection: audio_duplicates.record_print(connection, video_key, sound_print)
        )

    def near_duplicates(self, video_key: str) -> list[str]:
        """Keys of videos with the same sound, most similar first. Informative only."""
        return self._database.read(lambda connection: audio_duplicates.near_duplicates(connection, video_key))

    def record_split(self, run_id: str, video_key: str, segment_count: int) -> None:
        """Records the number of segments. The video ends when its last segment ends."""
        now = self._clock()
        self._database.repeat(
            lambda connection: progress.record_split(connection, now, run_id, video_key, segment_count)
        )

    def record_done(self, run_id: str, records: Sequence[SegmentRecord]) -> None:
        """Records segments that ended without samples. Skips those that are done."""
        now = self._clock()
        self._database.repeat(lambda connection: segments.record_done(connection, now, run_id, records))

    def record_segment_failure(self, run_id: str, failure: SegmentFailure) -> None:
        """Records a failed segment, which is final until a person retries it. Skips a segment that has
        ended."""
        now = self._clock()
        self._database.repeat(lambda connection: segments.record_failure(connection, now, run_id, failure))

    def record_video_failure(self, run_id: str, failure: VideoFailure) -> None:
        """Releases the video: it waits until `next_try_at`, or has failed permanently."""
        now = self._clock()
        self._database.repeat(
            lambda connection: progress.record_video_failure(connection, now, run_id, failure)
        )

    def commit_shard(self, run_id: str, shard: ShardRecord, records: Sequence[SegmentRecord]) -> None:
        """Commits the shard and all its segments together, or raises LeaseLostError and writes nothing."""
        now = self._clock()
        self._database.repeat(
            lambda connection: shard_records.commit(connection, now, run_id, shard, records), durable=True
        )

    def mark_sidecar(self, name: str) -> None:
        self._database.repeat(lambda connection: shard_records.mark_sidecar(connection, name), durable=True)

    def shards(self) -> list[ShardRecord]:
        """The committed shards, in the order of their commits."""
        return self._database.read(shard_records.listed)

    def shards_without_sidecar(self) -> list[ShardRecord]:
        return self._database.read(shard_records.without_sidecar)

    def shard_names(self) -> set[str]:
        return self._database.read(shard_records.names)

    def status(self) -> views.CatalogStatus:
        now = self._clock()
        return self._database.read(lambda connection: views.status(connection, now))

    def explain(self, needle: str) -> views.VideoHistory | None:
        """The history of the video with this key, id, URI, path, segment key or sample key, or with a key or
        id that starts like this. Raises UsageError if several videos match."""
        return self._database.read(lambda connection: views.explain(connection, needle))

    def retry(self, *, error_class: str | None = None, key: str | None = None) -> int:
        """Makes failed videos and failed segments wait again, without backoff; returns the number of
        videos."""
        now = self._clock()
        return self._database.write(lambda connection: manual_retry.retry(connection, now, error_class, key))

    def error_classes(self) -> dict[str, int]:
        """Failures of videos and segments by class, most frequent first."""
        return self._database.read(manual_retry.error_classes)
