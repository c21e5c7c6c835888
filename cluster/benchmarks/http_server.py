"""A web server with the web's usual share of missing, busy, wrong and truncated files.

    python -m mien.cluster.benchmarks.http_server FILM COUNT

Prints its port. It serves `/0.mp4` to `/<COUNT - 1>.mp4`. Each file is the film followed by its number, so no
two have the same bytes; `kind` says which ones fail. It is a process of its own, so that its CPU time is not
counted as the client's.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

PAGE = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>"
    + b"<p>Sign in.</p>" * 200
    + b"</body></html>"
)
_TAIL = 24
"""Bytes of the MP4 box after the film: size, name, 16 digits."""


def kind(number: int) -> str:
    """Of each hundred files: 10 missing, 5 busy at the first request, 2 HTML pages, 2 truncated, 81 good."""
    place = number % 100
    for name, until in (("missing", 10), ("busy", 15), ("page", 17), ("cut", 19)):
        if place < until:
            return name
    return "film"


def tail(number: int) -> bytes:
    return _TAIL.to_bytes(4, "big") + b"free" + f"{number:016d}".encode()


def main() -> None:
    film, count = Path(sys.argv[1]), int(sys.argv[2])
    busy = {number for number in range(count) if kind(number) == "busy"}
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, film, count, busy), daemon=True).start()


def _serve(connection: socket.socket, film: Path, count: int, busy: set[int]) -> None:
    with connection, film.open("rb") as file:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting = b""
        try:
            while True:
                while b"\r\n\r\n" not in waiting:
                    more = connection.recv(8192)
                    if not more:
                        return
                    waiting += more
                request, _, waiting = waiting.partition(b"\r\n\r\n")
                _answer(connection, file.fileno(), request.split()[1].decode(), count, busy)
        except (ConnectionError, OSError):
            return


def _answer(connection: socket.socket, file: int, path: str, count: int, busy: set[int]) -> None:
    name = path.strip("/").partition(".")[0]
    number = int(name) if name.isdecimal() else count
    what = kind(number) if number < count else "missing"
    if what == "missing":
        connection.sendall(_head("404 Not Found", 0))
    elif number in busy:
        busy.discard(number)
        connection.sendall(_head("429 Too Many Requests", 0, "Retry-After: 1\r\n"))
    elif what == "page":
        connection.sendall(_head("200 OK", len(PAGE)) + PAGE)
    else:
        size = os.fstat(file).st_size
        whole = size + _TAIL if what != "cut" else size * 6 // 10
        connection.sendall(_head("200 OK", whole))
        sent = 0
        while sent < min(size, whole):
            sent += os.sendfile(connection.fileno(), file, sent, min(size, whole) - sent)
        if whole > size:
            connection.sendall(tail(number))


def _head(status: str, length: int, more: str = "") -> bytes:
    kind = "Content-Type: video/mp4\r\n" if status.startswith("200") else ""
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{kind}{more}\r\n".encode()


if __name__ == "__main__":
    main()
