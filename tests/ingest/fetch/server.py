"""A web server on loopback that misbehaves on request.

    with LoopbackServer() as server:
        server.pages["/a.mp4"] = [Reply(status=429), Reply(body=film, cut_at=1000), Reply(body=film)]
        server.url("/a.mp4")

Each request to a path gets the next reply; the last one is repeated.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = -1
    """The Content-Length: -1 for the true one, None for none at all."""
    cut_at: int | None = None
    """After this many bytes the connection is reset."""
    end_at: int | None = None
    """After this many bytes the connection is closed politely."""
    ranges: bool = True
    range_status: int = 206
    """The answer to a range; another than 206 comes without a body."""
    heeds_if_range: bool = True
    pause_seconds: float = 0.0
    """Between pieces of `piece_bytes`."""
    piece_bytes: int = 1 << 16
    linger_seconds: float = 0.0
    """Silence after the last byte, before the connection is closed; cut short by the end of the test."""


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    headers: dict[str, str]


class LoopbackServer:
    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.pages: dict[str, list[Reply]] = {}
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its headers

            def do_GET(self) -> None:
                owner._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is what some of the tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests.append(Request(handler.path, {k.lower(): v for k, v in handler.headers.items()}))
            replies = self.pages.get(handler.path.split("?")[0], [Reply(status=404)])
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
        body, status, headers = reply.body, reply.status, dict(reply.headers)
        requested = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        condition = handler.headers.get("If-Range")
        fits = condition is None or condition in {headers.get("ETag"), headers.get("Last-Modified")}
        start = 0
        if requested and reply.range_status != 206:
            status, body = reply.range_status, b""
        elif requested and reply.ranges and (fits or not reply.heeds_if_range) and status == 200:
            start = int(requested[1])
            status = 206 if start < len(body) else 416
            headers["Content-Range"] = (
                f"bytes {start}-{len(body) - 1}/{len(body)}" if status == 206 else f"bytes */{len(body)}"
            )
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if reply.announced is not None:
            handler.send_header(
                "Content-Length", str(max(0, len(body) - start) if reply.announced < 0 else reply.announced)
            )
        else:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        self._send(handler, reply, body, start)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply, body: bytes, start: int) -> None:
        stop = min(value for value in (reply.cut_at, reply.end_at, len(body)) if value is not None)
        for position in range(start, stop, reply.piece_bytes):
            handler.wfile.write(body[position : min(stop, position + reply.piece_bytes)])
            handler.wfile.flush()
            if reply.pause_seconds:
                time.sleep(reply.pause_seconds)
        if reply.linger_seconds:
            self._over.wait(reply.linger_seconds)
        if stop < len(body) or reply.announced is None or reply.announced > len(body):
            handler.close_connection = True
        if reply.cut_at is not None:
            # Lingering for 0 s turns the close into a reset.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
