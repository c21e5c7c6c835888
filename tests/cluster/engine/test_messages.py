"""The messages between driver and workers, and how the worker side answers them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from mien.cluster.engine.actor import Actor
from mien.cluster.engine.interface import ErrorInfo
from mien.cluster.engine.messages import (
    Close,
    Flush,
    Hello,
    Output,
    Pull,
    Reply,
    ReplyStatus,
    Run,
    Setup,
    decode_reply,
    decode_request,
    encode,
)
from mien.ingest.errors import Policy
from mien.pipelines.stage import StageContext
from tests.cluster.engine.stages import Aggregate, Obey, Split, parcels


@pytest.mark.parametrize(
    "request_",
    [Hello(), Setup(500), Setup(None), Run(), Run(3), Pull(2, starts=True, index=1), Flush(), Close()],
)
def test_requests_are_restored(request_: Any) -> None:
    assert decode_request(encode(request_)) == request_


def test_replies_are_restored() -> None:
    error = ErrorInfo(
        error_class="RateLimitedError",
        text="wait",
        policy=Policy.RETRY,
        circuit=True,
        retry_after_seconds=3.5,
        usage_requests=2,
    )
    output = Output("k", 1.5, 10, ("a", "b"), final=True, index=None, item=b"pickle")
    for reply in (Reply(ReplyStatus.OK, 5, 0.1, (output,)), Reply(ReplyStatus.FAILED, error=error)):
        assert decode_reply(encode(reply)) == reply


def started(stage: Any, *, last: bool = False, reports: bool = False) -> Actor:
    actor = Actor(pickle.dumps((stage, StageContext())), 1, last, reports)
    assert ask(actor, Setup(None))[1].error is None
    return actor


def ask(actor: Actor, request: Any, payload: Any = None) -> tuple[Any, Reply]:
    result, reply = actor.answer(encode(request), payload)
    return result, decode_reply(reply)


def test_several_outputs_are_a_list_with_positions() -> None:
    (parcel,) = parcels(1, a={0: "twice"})
    payload, reply = ask(started(Obey("a")), Run(), parcel)
    assert [item.key for item in payload] == ["p000a", "p000b"]
    assert [(output.key, output.index) for output in reply.outputs] == [("p000a", 0), ("p000b", 1)]


def test_single_output_is_the_payload() -> None:
    payload, reply = ask(started(Obey("a")), Run(1), parcels(2))
    assert payload.key == "p001"
    assert [(output.index, output.item) for output in reply.outputs] == [(None, None)]


def test_final_items_travel_in_the_reply() -> None:
    (parcel,) = parcels(1, a={0: "final"})
    payload, reply = ask(started(Obey("a")), Run(), parcel)
    assert payload is None
    (output,) = reply.outputs
    assert output.final and output.item is not None
    assert pickle.loads(output.item).key == "p000"  # noqa: S301 (from our own actor)


def test_reported_items_travel_in_both() -> None:
    payload, reply = ask(started(Obey("a"), reports=True), Run(), parcels(1)[0])
    assert payload.key == "p000" and reply.outputs[0].item is not None


def test_pull_after_the_end_finds_no_stream() -> None:
    actor = started(Split(count=1))
    assert ask(actor, Pull(1, starts=True), parcels(1)[0])[1].status is ReplyStatus.OK
    assert ask(actor, Pull(1))[1].status is ReplyStatus.STREAM_ENDED
    assert ask(actor, Pull(1))[1].status is ReplyStatus.NO_STREAM


def test_flush_acknowledges_what_was_held() -> None:
    actor = started(Aggregate(size=10), last=True)
    for parcel in parcels(2):
        assert ask(actor, Run(), parcel)[1].outputs == ()
    assert ask(actor, Flush())[1].outputs[0].acknowledges == ("p000", "p001")


@pytest.mark.parametrize("order", ["raise", "exit"])
def test_exceptions_become_error_replies(order: str) -> None:
    (parcel,) = parcels(1, a={0: order})
    payload, reply = ask(started(Obey("a")), Run(), parcel)
    assert payload is None and reply.status is ReplyStatus.FAILED
    assert reply.error is not None


def test_close_closes_the_stage() -> None:
    stage = Obey("a")
    closed: list[bool] = []
    actor = started(stage)
    actor._stage.close = lambda: closed.append(True)  # type: ignore[method-assign]
    assert ask(actor, Close())[1].error is None
    assert closed == [True]
