"""The messages between the driver and its workers: structs with named fields, sent as msgpack bytes.

Ray stores bytes as they are. It packs plain lists with msgpack, and any other object with cloudpickle, at ten
times the cost. `array_like` leaves the field names out of the bytes.

A call has two results, `(payload, reply)`. The payload is the item itself, or a list where a call yields
several; the driver passes it on without reading it. The reply is small, and it is all that the driver reads.
The payload comes first: where Ray cannot store one result, it fails the results after it too.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from mien.cluster.engine.interface import ErrorInfo


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Its fields hold no reference cycles, so the garbage collector need not track it."""


# Driver to worker


class Hello(_Message, frozen=True, tag=True):
    """Answered as soon as the process runs."""


class Setup(_Message, frozen=True, tag=True):
    memory_mb: int | None
    """What the worker may use on top of what it holds after setup. None: no limit."""


class Run(_Message, frozen=True, tag=True):
    """Runs the stage on the item of the payload."""

    index: int | None = None
    """Position of the item where the payload is a list."""


class Pull(_Message, frozen=True, tag=True):
    """Asks for the next output of a fan-out."""

    stream: int
    """Number of the fan-out in this worker. A pull of an earlier fan-out yields nothing."""
    starts: bool = False
    """The first pull of the fan-out; only this one carries a payload."""
    index: int | None = None


class Flush(_Message, frozen=True, tag=True):
    """Asks an aggregating stage for everything that it holds."""


class Close(_Message, frozen=True, tag=True):
    """The worker ends normally: no request follows."""


Request = Hello | Setup | Run | Pull | Flush | Close


# Worker to driver


class ReplyStatus(Enum):
    OK = "ok"
    STREAM_ENDED = "stream ended"
    """The fan-out has no more outputs."""
    NO_STREAM = "no stream"
    """The pull came after the end of its fan-out."""
    FAILED = "failed"


class Output(_Message, frozen=True):
    """One item that a stage yielded."""

    key: str
    seconds: float
    nbytes: int
    acknowledges: tuple[str, ...] = ()
    """Keys of the items that this one answers for (aggregating stages)."""
    final: bool = False
    """The driver takes the item, and no stage after this one does."""
    index: int | None = None
    """Position in the payload where that is a list."""
    item: bytes | None = None
    """Pickle of the item, where the driver needs it: for final and reported items. Final items are not in
    the payload."""


class Reply(_Message, frozen=True):
    status: ReplyStatus
    rss_bytes: int = 0
    busy_seconds: float = 0.0
    outputs: tuple[Output, ...] = ()
    error: ErrorInfo | None = None


# Over the pipe of a worker process


class WorkerStart(_Message, frozen=True):
    """The first message to a worker process."""

    stage: bytes
    threads: int
    last: bool
    reports: bool


class Envelope(_Message, frozen=True):
    """A request or a reply, and the pickled payload beside it (empty: none)."""

    message: bytes
    payload: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(Request)
_reply_decoder = msgspec.msgpack.Decoder(Reply)
_start_decoder = msgspec.msgpack.Decoder(WorkerStart)
_envelope_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(message: Any) -> bytes:
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    return _request_decoder.decode(data)


def decode_reply(data: bytes) -> Reply:
    return _reply_decoder.decode(data)


def decode_start(data: bytes) -> WorkerStart:
    return _start_decoder.decode(data)


def decode_envelope(data: bytes) -> Envelope:
    return _envelope_decoder.decode(data)
