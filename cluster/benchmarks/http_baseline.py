"""Transfers, hashes and probes files in one process, one after the other: by hand, or by the stage `fetch`.

    python -m mien.cluster.benchmarks.http_baseline bare|stage PORT COUNT FOLDER

Files that fail are requested as well: their cost is part of the cost of the validated ones.
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

from mien.cluster.benchmarks.http_server import kind
from mien.ingest.errors import GoneError, MienError
from mien.ingest.media import Job, VideoRef


def job(port: int, number: int) -> Job:
    uri = f"http://127.0.0.1:{port}/{number}.mp4"
    return Job(video=VideoRef(source="http", id=str(number), uri=uri))


def bare(port: int, folder: Path) -> Callable[[int], None]:
    """The minimum: receive, hash, write, fsync, probe."""
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
    one(first)  # warms up: imports and first allocations belong to no file
    before, began, validated = resource.getrusage(resource.RUSAGE_SELF), time.monotonic(), 0
    for number in range(count):
        if number != first:
            with suppress(MienError, IncompleteRead):
                one(number)
                validated += 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {"validated": validated, "seconds": time.monotonic() - began, "cpu_seconds": spent}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
