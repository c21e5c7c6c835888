"""Concurrent processes, and processes killed with SIGKILL."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog
from tests.ingest.catalog.makers import Clock, begin, ref, segment

ROOT = Path(__file__).resolve().parents[3]

OPENER = """
import sys
from mien.ingest.catalog import Catalog
Catalog.open(sys.argv[1]).close()
"""

CLAIMER = """
import sys
from mien.ingest.catalog import Catalog
from tests.ingest.catalog.makers import Clock, begin
catalog = Catalog.open(sys.argv[1], clock=Clock())
run_id = begin(catalog)
print("ready", flush=True)
sys.stdin.readline()
while jobs := catalog.claim(run_id, limit=3):
    for job in jobs:
        print(job.key)
"""

COMMITTER = """
import sys
from mien.ingest.catalog import Catalog
from tests.ingest.catalog.makers import Clock, begin, segment, shard
catalog = Catalog.open(sys.argv[1], clock=Clock())
run_id = begin(catalog)
names = [job.video.id for job in catalog.claim(run_id, limit=400)]
print("ready", flush=True)
for number in range(1000):
    records = [segment(name, 60 * number, samples=1, fate="kept") for name in names]
    catalog.commit_shard(run_id, shard(f"{run_id}-{number:05d}", run_id), records)
"""


def start(code: str, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, url]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_open_a_new_catalog_at_once(url: str) -> None:
    openers = [start(OPENER, url) for _ in range(4)]
    assert [opener.wait(300) for opener in openers] == [0, 0, 0, 0]


@pytest.mark.slow
def test_concurrent_claims_never_share_videos(url: str) -> None:
    with Catalog.open(url) as catalog:
        catalog.add(ref(f"v{number}") for number in range(300))
    claimers = [start(CLAIMER, url) for _ in range(3)]
    for claimer in claimers:  # wait for all of them before the first one begins
        assert claimer.stdout is not None and claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    outputs = [claimer.communicate(timeout=300)[0] for claimer in claimers]
    counts = Counter(key for output in outputs for key in output.split())
    assert len(counts) == 300
    assert set(counts.values()) == {1}


@pytest.mark.chaos
@pytest.mark.parametrize("attempt", range(3))
def test_kill_during_commit_leaves_nothing_partial(url: str, attempt: int) -> None:
    with Catalog.open(url, clock=Clock()) as catalog:
        catalog.add(ref(f"v{number}") for number in range(400))
        committer = start(COMMITTER, url)
        assert committer.stdout is not None
        assert committer.stdout.readline() == "ready\n"
        time.sleep(random.Random(attempt).uniform(0.05, 0.4))
        committer.send_signal(signal.SIGKILL)
        committer.communicate(timeout=300)
        # The server may still execute the last COMMIT; ending the run waits for it.
        for run_id in catalog.live_runs():
            catalog.end_run(run_id, "killed")
        shards = len(catalog.shards())
        status = catalog.status()
        assert status.segments["done"] == 400 * shards
        assert status.seconds_by_fate.get("kept", 0.0) == 60.0 * 400 * shards
        history = catalog.explain("folder-v7")
        assert history is not None
        assert [part.shard for part in history.segments] == [name.name for name in catalog.shards()]
        [job, *_] = catalog.claim(begin(catalog), limit=400)
        assert len(job.done_starts_ms) == shards


def test_threads_share_a_catalog(catalog: Catalog) -> None:
    """The heartbeat and the commits come from different threads."""
    catalog.add(ref(f"v{number}") for number in range(60))
    run_id = begin(catalog)
    jobs = catalog.claim(run_id, limit=60)

    def finish(name: str) -> None:
        catalog.heartbeat(run_id)
        catalog.record_split(run_id, f"folder-{name}", 2)
        catalog.record_done(run_id, [segment(name, 0)])
        catalog.record_done(run_id, [segment(name, 60)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finish, [job.video.id for job in jobs]))
    assert catalog.status().videos["done"] == 60


def test_dropped_connections_are_retried(postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as server, Catalog.open(postgres_url) as catalog:
        catalog.add([ref("a")])
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        assert catalog.add([ref("a")]).known == ["folder-a"]
