"""A way to a PostgreSQL on which one COMMIT is lost: on its way there, or its answer on the way back."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

LostMessage = Literal["question", "answer"]


class CommitDropper:
    """Passes on what comes, until `cut`: then the next COMMIT ends its connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (str(parts.hostname), int(parts.port or 5432))
        self._server = socket.create_server(("127.0.0.1", 0))
        port = self._server.getsockname()[1]
        self.url = url.replace(f":{parts.port}/", f":{port}/")
        self.cut: LostMessage | None = None
        self.cuts = 0
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._server, *self._open):
            _close(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(self._to)
                self._open += [client, server]
                answers_lost = threading.Event()
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(client, server, answers_lost), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, answers_lost: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data and self.cut is not None:
                    lost, self.cut = self.cut, None
                    self.cuts += 1
                    if lost == "question":
                        break
                    answers_lost.set()
                server.sendall(data)
        for each in (client, server):
            _close(each)

    def _answer(self, client: socket.socket, server: socket.socket, answers_lost: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if answers_lost.is_set():  # it has been done, as it has been answered
                    break
                client.sendall(data)
        for each in (client, server):
            _close(each)


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
