"""A gateway in front of an object store that fails like a busy one: 503 SlowDown, or truncated bodies.

It simulates the network. The store behind it is a real S3 server (tests/s3.py).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


class Gateway:
    """`refuse`: the number of next GETs of objects that get 503; -1: all. `cut`: the number of next GETs
    whose body is truncated. `requests`: GETs of each path so far, including refused ones."""

    def __init__(self, behind: str) -> None:
        self.refuse = 0
        self.cut = 0
        self.requests: Counter[str] = Counter()
        self.endpoint = ""
        self._behind = behind
        self._lock = threading.Lock()
        self._client = httpx.Client(trust_env=False, timeout=120, verify=False)  # noqa: S501 - plain HTTP

    def fate(self, path: str) -> str:
        with self._lock:
            self.requests[path] += 1
            if self.refuse:
                self.refuse -= 1
                return "refuse"
            if self.cut:
                self.cut -= 1
                return "cut"
        return "pass"

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        forwarded = {
            name: value for name, value in headers.items() if name.lower() not in {"host", "connection"}
        }
        return self._client.request(method, f"{self._behind}{path}", headers=forwarded, content=body)

    def close(self) -> None:
        self._client.close()


@contextmanager
def gateway(behind: str) -> Iterator[Gateway]:
    gate = Gateway(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            is_object = self.path.partition("?")[0].endswith((".tar", ".parquet"))
            fate = gate.fate(self.path.partition("?")[0]) if is_object else "pass"
            if fate == "refuse":
                self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
                return
            self._pass(cut=fate == "cut")

        def do_HEAD(self) -> None:
            self._pass()

        def do_PUT(self) -> None:
            self._pass()

        def _pass(self, *, cut: bool = False) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = gate.forward(self.command, self.path, dict(self.headers), body)
            self._answer(answer.status_code, dict(answer.headers), answer.content, cut=cut)

        def _answer(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
            self.send_response_only(status)
            length = (
                headers.get("content-length", str(len(body))) if self.command == "HEAD" else str(len(body))
            )
            for name, value in headers.items():
                if name.lower() not in {
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "content-encoding",
                }:
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gate.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        gate.close()
