"""The port: an HTTP proxy that answers CONNECT to any host by terminating TLS itself. Nothing leaves here."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.youtube.certificate import server_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request, read."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    headers: dict[str, str]
    """Names in lower case."""
    cookies: frozenset[str] = field(default_factory=frozenset)
    """Their names."""
    identity: str = ""
    """The user name that was shown to the proxy."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its headers
    server: ProxyServer
    host: str = ""
    identity: str = ""

    def do_CONNECT(self) -> None:
        if not self._admitted():
            return
        self.host = self.path.rsplit(":", 1)[0]
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self.wfile.flush()
        self.connection = server_context().wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()
        self.connection.close()

    def do_GET(self) -> None:
        if self.host or self._admitted():
            self.server.answer(self, self._incoming())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def send_text(self, status: int, body: str | dict[str, Any], kind: str = "application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _admitted(self) -> bool:
        shown = self.headers.get("Proxy-Authorization", "")
        user, _, password = (
            base64.b64decode(shown.removeprefix("Basic ")).decode().partition(":") if shown else ("", "", "")
        )
        self.identity = user
        if self.server.password in {None, password}:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="double"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True
        return False

    def _incoming(self) -> Incoming:
        parts = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return Incoming(
            method=self.command,
            host=self.host or parts.hostname or "",
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            body=json.loads(data) if data else {},
            headers={name.lower(): value for name, value in self.headers.items()},
            cookies=frozenset(SimpleCookie(self.headers.get("Cookie", ""))),
            identity=self.identity,
        )


Answer = Callable[[Handler, Incoming], None]


class ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Answer, password: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.password = password

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some of the tests are about."""
