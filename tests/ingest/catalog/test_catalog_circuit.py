"""A refused identity pauses, and one probe then tests whether it works again."""

from __future__ import annotations

from mien.ingest.catalog import Catalog, Outcome, Usage
from mien.ingest.rate.circuit import FIRST_COOLDOWN_SECONDS, JITTER
from tests.ingest.catalog.makers import LEASE_SECONDS, Clock, begin
from tests.ingest.catalog.platforms import FREE, HAD, REFUSED, A, B, ask, put_off, tubes


def test_refusal_pauses_identity_and_costs_no_attempt(catalog: Catalog, clock: Clock) -> None:
    catalog.add(tubes(20))
    run_id = begin(catalog)
    one, two = ask(catalog, run_id, [A], limit=2)
    paused = catalog.settle(run_id, one.key, REFUSED)
    assert paused is not None
    assert paused.identity == "a"
    cooldown = paused.until - clock.now
    assert FIRST_COOLDOWN_SECONDS <= cooldown <= FIRST_COOLDOWN_SECONDS * (1 + JITTER)
    for job in (one, two):
        catalog.record_video_failure(run_id, put_off(job, clock.now))
    history = catalog.explain(one.key)
    assert history is not None
    assert (history.state, history.attempts) == ("waiting", 0)
    catalog.settle(run_id, two.key, HAD)  # was in progress: closes nothing
    assert ask(catalog, run_id, [A]) == []
    assert catalog.rate_limited_at(fingerprint="f1", identities=[A]) == (paused.until, None)
    assert [job.identity for job in ask(catalog, run_id, [A, B], limit=1)] == ["b"]
    [state] = catalog.egress([A], "youtube")
    assert (state.paused_until, state.error_class, state.strikes) == (paused.until, "BotWallError", 1)


def test_one_probe_follows_a_pause(catalog: Catalog, clock: Clock) -> None:
    catalog.add(tubes(20))
    run_id = begin(catalog)
    [job] = ask(catalog, run_id, [A], limit=1)
    first = catalog.settle(run_id, job.key, REFUSED)
    assert first is not None
    clock.now = first.until
    catalog.heartbeat(run_id)
    [probe] = ask(catalog, run_id, [A])
    assert ask(catalog, run_id, [A]) == []
    again = catalog.settle(run_id, probe.key, REFUSED)
    assert again is not None
    assert again.until - clock.now >= 2 * FIRST_COOLDOWN_SECONDS
    clock.now = again.until
    catalog.heartbeat(run_id)
    [probe] = ask(catalog, run_id, [A])
    catalog.settle(run_id, probe.key, Usage(outcome=Outcome.FAILED))  # no information: another probe follows
    [probe] = ask(catalog, run_id, [A])
    catalog.settle(run_id, probe.key, HAD)
    assert catalog.egress([A], "youtube")[0].paused_until is None
    assert len(ask(catalog, run_id, [A])) > 1


def test_probe_of_dead_run_frees_the_circuit(catalog: Catalog, clock: Clock) -> None:
    catalog.add(tubes(20))
    dead = begin(catalog)
    [job] = ask(catalog, dead, [FREE], limit=1)
    paused = catalog.settle(dead, job.key, REFUSED)
    assert paused is not None
    clock.now = paused.until
    catalog.heartbeat(dead)
    assert len(ask(catalog, dead, [FREE])) == 1
    clock.sleep(LEASE_SECONDS + 1)
    assert len(ask(catalog, begin(catalog), [FREE])) == 1


def test_reopen_ends_a_pause(catalog: Catalog) -> None:
    catalog.add(tubes(20))
    run_id = begin(catalog)
    [job] = ask(catalog, run_id, [A], limit=1)
    assert not catalog.reopen("a")
    catalog.settle(run_id, job.key, REFUSED)
    assert catalog.reopen("a")
    assert len(ask(catalog, run_id, [A])) > 1
    assert not catalog.reopen("nobody")
