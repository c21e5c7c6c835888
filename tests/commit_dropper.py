"""A proxy in front of PostgreSQL that loses one COMMIT: either the request or the server's reply."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

LostMessage = Literal["request", "reply"]


class CommitDropper:
    """Forwards all traffic. If `drop` is set, the next COMMIT closes its connection and resets `drop`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 5432))
        self._server = socket.create_server(("127.0.0.1", 0))
        port = self._server.getsockname()[1]
        self.url = url.replace(f":{parts.port}/", f":{port}/")
        self.drop: LostMessage | None = None
        self.dropped = 0
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
                server = socket.create_connection(self._target)
                self._open += [client, server]
                drop_reply = threading.Event()
                for forward in (self._forward_requests, self._forward_replies):
                    threading.Thread(target=forward, args=(client, server, drop_reply), daemon=True).start()

    def _forward_requests(
        self, client: socket.socket, server: socket.socket, drop_reply: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data and self.drop is not None:
                    lost, self.drop = self.drop, None
                    self.dropped += 1
                    if lost == "request":
                        break
                    drop_reply.set()
                server.sendall(data)
        for each in (client, server):
            _close(each)

    def _forward_replies(
        self, client: socket.socket, server: socket.socket, drop_reply: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if drop_reply.is_set():  # the server has replied, so it has committed
                    break
                client.sendall(data)
        for each in (client, server):
            _close(each)


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
