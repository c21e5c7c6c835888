"""googlevideo.com: the bytes of a format, with Range, and every way in which they do not come."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from threading import Event

from tests.youtube.video import Fault

PAGE = b"<!DOCTYPE html><html><head><title>Sorry...</title></head><body>We're sorry...</body></html>"
_PIECE_BYTES = 1 << 14


def send_media(
    handler: BaseHTTPRequestHandler,
    data: bytes,
    mime: str,
    fault: Fault | None,
    closing: Event,
    count: Callable[[int], None],
) -> None:
    """Answers one request for `data`. `count` gets the number of bytes of each piece of the body before
    it is sent, so a client that has received bytes finds them counted."""
    if fault is Fault.MEDIA_FORBIDDEN:
        _refuse(handler, 403)
        return
    if fault is Fault.MEDIA_RATE_LIMITED:
        _refuse(handler, 429)
        return
    if fault is Fault.MEDIA_HTML:
        data = PAGE
    elif fault is Fault.MEDIA_NOISE:
        data = bytes(len(data))
    elif fault is Fault.MEDIA_SHORT:
        data = data[: len(data) // 2]
    requested = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    start, end = 0, len(data)
    if requested:
        start, end = int(requested[1]), min(int(requested[2] or len(data)) + 1, len(data))
        if start >= len(data):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(data)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
    handler.send_response(206 if requested else 200)
    handler.send_header("Content-Type", mime)
    handler.send_header("Accept-Ranges", "bytes")
    handler.send_header("Content-Length", str(end - start))
    if requested:
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
    handler.end_headers()
    if handler.command != "HEAD":
        _body(handler, data[start:end], fault, closing, count)


def _body(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    fault: Fault | None,
    closing: Event,
    count: Callable[[int], None],
) -> None:
    breaks = {Fault.MEDIA_STALLED, Fault.MEDIA_RESET, Fault.MEDIA_WRONG_LENGTH}
    stop = len(body) // 2 if fault in breaks else len(body)
    for position in range(0, stop, _PIECE_BYTES):
        piece = body[position : min(stop, position + _PIECE_BYTES)]
        count(len(piece))
        handler.wfile.write(piece)
        if fault is Fault.MEDIA_SLOW and closing.wait(0.02):
            break
    if fault in breaks:
        handler.wfile.flush()
        handler.close_connection = True
    if fault is Fault.MEDIA_STALLED:
        _wait_for_hang_up(handler, closing)
    elif fault is Fault.MEDIA_RESET:
        # A reset throws away what the client has not read yet, the headers too. Lingering for 0 s makes one.
        closing.wait(0.3)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()


def _wait_for_hang_up(handler: BaseHTTPRequestHandler, closing: Event) -> None:
    handler.connection.settimeout(0.1)
    deadline = time.monotonic() + 120
    while not closing.is_set() and time.monotonic() < deadline:
        try:
            if not handler.connection.recv(1):
                return
        except TimeoutError:
            continue
        except OSError:
            return


def _refuse(handler: BaseHTTPRequestHandler, status: int) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", "0")
    handler.end_headers()
