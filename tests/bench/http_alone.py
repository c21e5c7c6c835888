"""Transfer, hash and probe in one process, one file after the other: by hand, and by the stage `fetch`.

The files that fail are asked for as well: what they take belongs to what the proven ones cost.

python -m tests.bench.http_alone bare|stage PORT COUNT FOLDER
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path

from mien.ingest.errors import GoneError, MienError
from mien.ingest.media import Job, VideoRef
from tests.bench.http_server import kind


def job(port: int, number: int) -> Job:
    uri = f"http://127.0.0.1:{port}/{number}.mp4"
    return Job(video=VideoRef(source="http", id=str(number), uri=uri))


def bare(port: int, folder: Path) -> Callable[[int], None]:
    """The least that has to be done: received, hashed, written, synced since it is to stay; probed."""
    import os

    from mien.ingest.probe import probe

    connection = HTTPConnection("127.0.0.1", port)

    def ask(number: int) -> HTTPResponse:
        connection.request("GET", f"/{number}.mp4")
        response = connection.getresponse()
        if response.status != HTTPStatus.OK:
            response.read()
        return response

    def one(number: int) -> None:
        response = ask(number)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            response = ask(number)
        if response.status != HTTPStatus.OK:
            raise GoneError(f"{number}: status {response.status}")
        digest, path = hashlib.sha256(), folder / f"{number}.mp4"
        with path.open("wb") as file:
            while chunk := response.read(1 << 18):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        probe(str(path), job=job(port, number), sha256=digest.hexdigest(), bytes=path.stat().st_size)

    return one


def stage(port: int, folder: Path) -> Callable[[int], None]:
    from mien.ingest.fetch import Fetch

    fetch = Fetch(cache_dir=str(folder), allow_private_addresses=True)
    fetch.open()

    def one(number: int) -> None:
        list(fetch(job(port, number)))

    return one


def main() -> None:
    name, port, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    folder.mkdir()
    one = {"bare": bare, "stage": stage}[name](port, folder)
    first = next(number for number in range(count) if kind(number) == "film")
    one(first)  # imports and first allocations are not of any file
    before, began, proven = resource.getrusage(resource.RUSAGE_SELF), time.monotonic(), 0
    for number in range(count):
        if number != first:
            with suppress(MienError, IncompleteRead):
                one(number)
                proven += 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = {"proven": proven, "seconds": time.monotonic() - began, "cpu_seconds": spent}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
