"""If the server restarts during a run, writes wait for it and happen once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest

from mien.cluster.runner.peer_runs import Heartbeat
from mien.ingest.catalog import Catalog
from mien.ingest.errors import CatalogError
from tests.ingest.catalog.makers import LEASE_SECONDS, Clock, begin, ref, segment, shard
from tests.postgres import Server, postgres_server

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 300.0

# The first commit of a shard loses its connection at the end, so its outcome is unknown.
CUT_AT_COMMIT = """
CREATE SEQUENCE cuts;
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('cuts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON shards DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION cut();
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def catalog(server: Server, clock: Clock) -> Iterator[Catalog]:
    with Catalog.open(server.url, clock=clock, patience_seconds=PATIENCE_SECONDS) as opened:
        yield opened


def during_an_outage(server: Server, work: Callable[[], None], meanwhile: Callable[[], None]) -> None:
    """Starts `work` while the server is down, and restarts the server."""
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        working: Future[None] = pool.submit(work)
        with suppress(TimeoutError):  # long enough for several retries
            working.exception(timeout=1.0)
        assert not working.done(), working.exception()
        meanwhile()
        server.start()
        working.result(timeout=PATIENCE_SECONDS)


def test_commit_waits_for_the_server(server: Server, catalog: Catalog) -> None:
    catalog.add([ref("a")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=1)

    def commit() -> None:
        catalog.commit_shard(run_id, shard("s1", run_id), [segment("a", 0, samples=2, fate="kept")])

    during_an_outage(server, commit, lambda: None)
    commit()  # repeating the commit changes nothing
    assert catalog.shard_names() == {"s1"}
    assert (catalog.status().samples, catalog.status().seconds_by_fate) == (2, {"kept": 60.0})


def test_run_survives_outage_longer_than_lease(server: Server, catalog: Catalog, clock: Clock) -> None:
    catalog.add(ref(name) for name in "ab")
    run_id = begin(catalog)
    catalog.claim(run_id, limit=1)
    # No regular heartbeat happens during this test: the server's return renews the lease.
    with Heartbeat(catalog, run_id, lease_seconds=4000.0) as heartbeat:
        during_an_outage(
            server,
            lambda: catalog.record_done(run_id, [segment("a", 0)]),
            lambda: clock.sleep(LEASE_SECONDS + 1),
        )
        catalog.record_done(run_id, [segment("a", 60)])
        assert [job.key for job in catalog.claim(run_id, limit=1)] == ["folder-b"]
        heartbeat.alive()
    assert catalog.status().segments["done"] == 2


def test_lost_connection_commits_once(server: Server, catalog: Catalog) -> None:
    catalog.add([ref("a")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=1)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(CUT_AT_COMMIT.encode())
    catalog.commit_shard(run_id, shard("s1", run_id), [segment("a", 0, samples=2, fate="kept")])
    assert catalog.shard_names() == {"s1"}
    assert (catalog.status().samples, catalog.status().segments["done"]) == (2, 1)


def test_long_outage_gives_one_line_error(server: Server) -> None:
    with Catalog.open(server.url, patience_seconds=0.0) as catalog:
        server.stop()
        with pytest.raises(CatalogError, match="check that it is running, reachable and writable") as caught:
            catalog.add([ref("a")])
    assert "\n" not in str(caught.value)
