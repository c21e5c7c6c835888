"""Frequent statements of a run never scan a whole table."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from mien.ingest.catalog import Catalog, MediaRecord
from mien.ingest.errors import Policy
from tests.ingest.catalog.makers import begin, ref, segment, segment_failure, shard, video_failure
from tests.ingest.catalog.platforms import HAD, REFUSED, A, B, ask, put_off, tubes


def test_no_run_statement_scans_a_table_on_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    asked: list[tuple[str, Any]] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(*arguments: Any) -> None:
        statement, values = arguments[2:4]
        asked.append((statement, values[0] if values and isinstance(values[0], tuple) else values))

    try:
        with Catalog.open(f"sqlite:///{path}") as catalog:
            asked.clear()
            work(catalog)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(asked) > 50
    connection = sqlite3.connect(path)
    for statement, values in asked:
        if not statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE")):
            continue
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        # The next query is read from an index instead of sorting all waiting videos.
        assert "substr" not in statement or not [step for step in plan if "TEMP B-TREE" in step], statement
        assert not [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step], statement
    connection.close()


def work(catalog: Catalog) -> None:
    catalog.add(ref(name, query="q") for name in "abcde")
    catalog.add(ref(name, query="r") for name in "abcde")
    run_id = begin(catalog)
    catalog.claim(run_id, limit=4)
    media = MediaRecord(sha256="0", bytes=1, duration_seconds=300.0)
    catalog.record_media(run_id, "folder-a", media)
    catalog.record_split(run_id, "folder-a", 3)
    catalog.record_done(run_id, [segment("a", 0), segment("b", 0)])
    catalog.record_segment_failure(run_id, segment_failure("a", 60))
    catalog.commit_shard(run_id, shard("s1", run_id), [segment("a", 120), segment("b", 60)])
    catalog.mark_sidecar("s1")
    catalog.record_video_failure(run_id, video_failure("c", policy=Policy.RETRY, again=1.0))
    catalog.record_video_failure(run_id, video_failure("d"))
    catalog.next_try_at()
    catalog.next_try_at(fingerprint="f1")
    catalog.heartbeat(run_id)
    catalog.end_run(run_id, "ended")
    catalog.claim(begin(catalog), limit=9)
    ask_a_platform(catalog)
    catalog.retry(error_class="GoneError")
    catalog.error_classes()
    catalog.explain("folder-a")


def ask_a_platform(catalog: Catalog) -> None:
    catalog.add([*tubes(9, query="q"), *tubes(9, query="r")])
    run_id = begin(catalog)
    one, two, three = ask(catalog, run_id, [A, B], limit=3)
    catalog.settle(run_id, one.key, HAD)
    catalog.record_media(run_id, one.key, MediaRecord(sha256="1", bytes=1, duration_seconds=300.0))
    catalog.record_retained(run_id, one.key, "/media/one.mp4")
    catalog.settle(run_id, two.key, REFUSED)
    catalog.record_video_failure(run_id, put_off(two, 1e12))
    catalog.rate_limited_at(fingerprint="f1", identities=[A, B])
    catalog.egress([A, B], "youtube")
    catalog.states([one.key, two.key, three.key])
    catalog.forget_retained(run_id, one.key)
    catalog.reopen(two.identity)
    catalog.end_run(run_id, "ended")
