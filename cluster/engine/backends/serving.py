"""The worker's end of the pipe: calls in, payloads and replies out."""

from __future__ import annotations

import pickle
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mien.cluster.engine.actor import Actor

NAME = "mien-worker"


class Parcel:
    """A payload on its way from worker to worker: the driver carries its bytes, and never unpacks them."""

    def __init__(self) -> None:
        self.data = b""

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self.data,)


def serve(connection: Connection) -> None:
    """Answers until the driver's end of `connection` closes. The first message makes the actor."""
    with suppress(OSError):  # as `top` shows it, where there is /proc
        Path("/proc/self/comm").write_text(NAME)
    try:
        actor = Actor(*connection.recv())
        while True:
            _send(connection, actor, _answer(actor, connection.recv_bytes()))
    except (EOFError, ConnectionError):
        return


def _send(connection: Connection, actor: Actor, answer: tuple[bytes, bytes]) -> None:
    began = time.perf_counter()
    try:
        connection.send(answer)
    except MemoryError as error:  # it is packed before the first byte goes
        connection.send((b"", pickle.dumps(actor.failed(error, began), pickle.HIGHEST_PROTOCOL)))


def _answer(actor: Actor, asked: bytes) -> tuple[bytes, bytes]:
    """The payload and the reply, packed."""
    began = time.perf_counter()
    try:
        method, arguments = pickle.loads(asked)  # noqa: S301 (of our own driver)
        payload, reply = getattr(actor, method)(*arguments)
        data = b"" if payload is None else pickle.dumps(payload, pickle.HIGHEST_PROTOCOL)
        return data, pickle.dumps(reply, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return b"", pickle.dumps(actor.failed(error, began), pickle.HIGHEST_PROTOCOL)
