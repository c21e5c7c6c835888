"""An interrupted download is resumed by the next one, also in another process, or starts over."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from mien.ingest.errors import FetchError, GoneError, IncompleteTransferError, Policy, StorageError
from mien.ingest.fetch import MediaCache, resume_info
from mien.ingest.fetch.partial_file import NOTE_BYTES, PartialFile
from mien.ingest.fetch.responses import Progress, begin
from mien.ingest.media import MediaFile
from mien.ingest.storage import open_store
from tests.ingest.fetch.conftest import cached_files, job_of, make_fetch
from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.s3 import S3Server

MB = 1 << 20
V1 = {"ETag": '"v1"'}


def padded(film: bytes, size: int) -> bytes:
    """The film with a `free` box behind it (ISO/IEC 14496-12), of `size` bytes in all."""
    return film + struct.pack(">I4s", size - len(film), b"free") + bytes(size - len(film) - 8)


@pytest.fixture
def long_film(film: bytes) -> bytes:
    return padded(film, 4 * MB)


def broken(tmp_path: Path, server: LoopbackServer, reply: Reply, *, attempts: int = 1) -> Path:
    """The cache's folder after a fetch that broke off."""
    server.pages["/f.mp4"] = [reply]
    stage = make_fetch(tmp_path, attempts=attempts)
    with pytest.raises(IncompleteTransferError):
        list(stage(job_of(server.url("/f.mp4"))))
    server.requests.clear()
    return stage.cache.folder


def fetched(tmp_path: Path, server: LoopbackServer, *replies: Reply) -> MediaFile:
    server.pages["/f.mp4"] = list(replies)
    stage = make_fetch(tmp_path)
    (media,) = stage(job_of(server.url("/f.mp4")))
    assert cached_files(stage) == [Path(media.path).name], "nothing is left beside it"
    return media


def ranges(server: LoopbackServer) -> list[str | None]:
    return [request.headers.get("range") for request in server.requests]


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("validator", [{"ETag": '"v1"'}, {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}])
def test_next_call_resumes(
    tmp_path: Path, server: LoopbackServer, long_film: bytes, validator: dict[str, str]
) -> None:
    folder = broken(tmp_path, server, Reply(body=long_film, headers=validator, end_at=3 * MB))
    (part,) = folder.glob("*.part")
    assert part.stat().st_size == 3 * MB, "the room of the rest is given back"
    media = fetched(tmp_path, server, Reply(body=long_film, headers=validator))
    assert ranges(server) == [f"bytes={3 * MB}-"]
    assert server.requests[0].headers["if-range"] == next(iter(validator.values()))
    assert media.sha256 == sha256(long_film)


def test_each_interruption_keeps_progress(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    for megabytes in (1, 2, 3):
        broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=megabytes * MB))
    assert fetched(tmp_path, server, Reply(body=long_film, headers=V1)).sha256 == sha256(long_film)
    assert ranges(server) == [f"bytes={3 * MB}-"]


def test_changed_file_starts_over(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    broken(tmp_path, server, Reply(body=b"x" * len(long_film), headers={"ETag": '"old"'}, end_at=3 * MB))
    assert fetched(tmp_path, server, Reply(body=long_film, headers=V1)).sha256 == sha256(long_film)


def test_shorter_file_starts_over(tmp_path: Path, server: LoopbackServer, film: bytes) -> None:
    """The requested range starts after the end of the file."""
    broken(tmp_path, server, Reply(body=padded(film, 4 * MB), headers=V1, end_at=3 * MB))
    short = padded(film, 2 * MB)
    assert fetched(tmp_path, server, Reply(body=short, headers=V1, heeds_if_range=False)).sha256 == sha256(
        short
    )
    assert ranges(server) == [f"bytes={3 * MB}-", None]


def test_wrong_range_fetches_whole_file(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    """Same tag and length, other bytes: the two parts make no video, which says nothing of the video."""
    broken(tmp_path, server, Reply(body=b"x" * len(long_film), headers=V1, end_at=3 * MB))
    server.pages["/f.mp4"] = [Reply(body=long_film, headers=V1)]
    stage = make_fetch(tmp_path)
    with pytest.raises(IncompleteTransferError, match="in two parts") as raised:
        list(stage(job_of(server.url("/f.mp4"))))
    assert raised.value.policy is Policy.RETRY
    assert cached_files(stage) == []
    assert fetched(tmp_path, server, Reply(body=long_film, headers=V1)).sha256 == sha256(long_film)


def test_validator_is_checked_by_client(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    """Not every server heeds If-Range. Both halves would make a video here."""
    other = long_film[:-1] + b"x"
    broken(tmp_path, server, Reply(body=other, headers=V1, end_at=3 * MB))
    media = fetched(tmp_path, server, Reply(body=long_film, headers={"ETag": '"v2"'}, heeds_if_range=False))
    assert ranges(server) == [f"bytes={3 * MB}-", None]
    assert media.sha256 == sha256(long_film)


def test_validators_are_per_response(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    server.pages["/f.mp4"] = [
        Reply(body=long_film, headers=V1, end_at=0),
        Reply(body=b"x" * len(long_film), end_at=3 * MB),  # it would be noted as v1
    ]
    stage = make_fetch(tmp_path, attempts=2)
    with pytest.raises(IncompleteTransferError):
        list(stage(job_of(server.url("/f.mp4"))))
    assert cached_files(stage) == []


@pytest.mark.parametrize("status", [403, 404, 416, 500])
def test_refused_range_fetches_whole_file(
    tmp_path: Path, server: LoopbackServer, long_film: bytes, status: int
) -> None:
    """In the same attempt: the configuration may allow one alone."""
    broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=3 * MB))
    server.pages["/f.mp4"] = [Reply(body=long_film, headers=V1, range_status=status)]
    (media,) = make_fetch(tmp_path, attempts=1)(job_of(server.url("/f.mp4")))
    assert ranges(server) == [f"bytes={3 * MB}-", None]
    assert media.sha256 == sha256(long_film)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_errors_keep_progress(
    tmp_path: Path, server: LoopbackServer, long_film: bytes, status: int
) -> None:
    folder = broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=3 * MB))
    note = next(folder.glob(f"*{resume_info.SUFFIX}"))
    half_a_day_ago = time.time() - resume_info.RESUMABLE_SECONDS / 2
    os.utime(note, (half_a_day_ago, half_a_day_ago))
    server.pages["/f.mp4"] = [Reply(status=status)]
    with pytest.raises(FetchError):
        list(make_fetch(tmp_path, attempts=1)(job_of(server.url("/f.mp4"))))
    assert note.stat().st_mtime == pytest.approx(half_a_day_ago), "what brings nothing makes it no younger"
    server.requests.clear()
    assert fetched(tmp_path, server, Reply(body=long_film, headers=V1)).sha256 == sha256(long_film)
    assert ranges(server) == [f"bytes={3 * MB}-"]


def test_short_interruptions_are_noted(
    tmp_path: Path, server: LoopbackServer, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that breaks off before each note would be due must not go without for ever."""
    noted: list[int] = []
    write = resume_info.write

    def watched(part: Path, found: resume_info.ResumeInfo) -> None:
        noted.append(found.position)
        write(part, found)

    monkeypatch.setattr(resume_info, "write", watched)
    monkeypatch.setattr("mien.ingest.fetch.partial_file.NOTE_BYTES", 2 * MB)
    body = padded(film, 9 * MB)
    steps = [MB * 3 // 2 * number for number in range(1, 6)]
    fetched(
        tmp_path,
        server,
        *(Reply(body=body, headers=V1, end_at=step) for step in steps),
        Reply(body=body, headers=V1),
    )
    assert len(noted) >= 3
    assert all(later - sooner < 3 * MB for sooner, later in zip([0, *noted], noted, strict=False))


def test_unread_progress_stays(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    """For example, the store of retained copies, which is checked first, is unavailable."""
    folder = broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=3 * MB))

    def away(_: PartialFile) -> None:
        raise StorageError("the store does not answer")

    cache = MediaCache(folder, 9 * MB)
    with pytest.raises(StorageError), cache.obtain(server.url("/f.mp4"), ".mp4", away):
        pass
    assert fetched(tmp_path, server, Reply(body=long_film, headers=V1)).sha256 == sha256(long_film)
    assert ranges(server) == [f"bytes={3 * MB}-"]


def test_without_resume_a_writer_starts_at_0(
    tmp_path: Path, server: LoopbackServer, long_film: bytes
) -> None:
    folder = broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=3 * MB))
    cache = MediaCache(folder, 9 * MB)
    with cache.obtain(server.url("/f.mp4"), ".mp4", lambda partial: partial.write(b"kept")) as path:
        assert path.read_bytes() == b"kept"
        assert {left.name for left in folder.iterdir()} == {path.name, ".lock"}


def test_mismatched_parts_are_fetched_again(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    """The file was evicted from the cache, and its second half has changed since."""
    media = fetched(tmp_path, server, Reply(body=long_film, headers=V1))
    stage = make_fetch(tmp_path)
    stage.release(media)
    broken(tmp_path, server, Reply(body=long_film[:-1] + b"x", headers=V1, end_at=3 * MB))
    server.pages["/f.mp4"] = [Reply(body=long_film[:-1] + b"x", headers=V1)]
    with pytest.raises(IncompleteTransferError, match="in two parts"), stage.local_copy(media):
        pass
    assert cached_files(stage) == []


def test_recent_date_is_no_validator() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    date = format_datetime(now, usegmt=True)
    for age, proves in ((0, False), (1, True)):
        changed = format_datetime(now - timedelta(seconds=age), usegmt=True)
        progress = Progress()
        headers = {"content-length": "9", "last-modified": changed, "date": date}
        assert begin(httpx.Response(200, headers=headers), progress, 0, "f") == 0
        assert progress.validator == (changed if proves else None)


@pytest.mark.parametrize(
    "reply",
    [
        {"end_at": 3 * MB},  # without a validator the rest may be another file's
        {"headers": {"ETag": 'W/"v1"'}, "end_at": 3 * MB},
        {"headers": V1, "end_at": MB - 1},  # not worth it
        {"headers": V1, "end_at": 3 * MB, "announced": None},
    ],
)
def test_unresumable_part_is_removed(
    tmp_path: Path, server: LoopbackServer, long_film: bytes, reply: dict[str, object]
) -> None:
    server.pages["/f.mp4"] = [Reply(body=long_film, **reply)]  # type: ignore[arg-type]
    stage = make_fetch(tmp_path, attempts=1)
    with pytest.raises(IncompleteTransferError):
        list(stage(job_of(server.url("/f.mp4"))))
    assert cached_files(stage) == []


def test_part_of_missing_file_is_removed(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=long_film, headers=V1, end_at=3 * MB), Reply(status=404)]
    stage = make_fetch(tmp_path)
    with pytest.raises(GoneError):
        list(stage(job_of(server.url("/f.mp4"))))
    assert cached_files(stage) == []


def spoil(part: Path, how: str) -> None:
    note = resume_info.note_of(part)
    recorded = json.loads(note.read_text())
    if how == "old":
        long_ago = time.time() - resume_info.RESUMABLE_SECONDS - 60
        os.utime(note, (long_ago, long_ago))
    elif how == "torn":
        note.write_text(note.read_text()[:-3])
    elif how == "unknown":
        note.write_text(json.dumps(recorded | {"more": 1}))
    elif how == "longer":
        note.write_text(json.dumps(recorded | {"position": part.stat().st_size + 1}))
    elif how == "whole":
        note.write_text(json.dumps(recorded | {"total_bytes": recorded["position"]}))
    elif how == "words":
        note.write_text(json.dumps(recorded | {"position": "many"}))
    else:
        note.unlink()


@pytest.mark.parametrize("how", ["old", "torn", "unknown", "longer", "whole", "words", "gone"])
def test_invalid_note_is_ignored(tmp_path: Path, server: LoopbackServer, long_film: bytes, how: str) -> None:
    folder = broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=3 * MB))
    (part,) = folder.glob("*.part")
    spoil(part, how)
    assert fetched(tmp_path, server, Reply(body=long_film, headers=V1)).sha256 == sha256(long_film)
    assert ranges(server) == [None]


def test_resumable_part_is_evicted(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    folder = broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=3 * MB))
    cache = MediaCache(folder, 4 * MB)
    assert cache.used_bytes() == 3 * MB
    with cache.obtain("another", "", lambda partial: partial.write(bytes(2 * MB))) as path:
        assert {left.name for left in folder.iterdir()} - {path.name} == {".lock"}


def test_old_part_is_swept(tmp_path: Path, server: LoopbackServer, long_film: bytes) -> None:
    folder = broken(tmp_path, server, Reply(body=long_film, headers=V1, end_at=3 * MB))
    assert MediaCache(folder, 9 * MB).used_bytes() == 3 * MB
    spoil(next(folder.glob("*.part")), "old")
    assert MediaCache(folder, 9 * MB).used_bytes() == 0
    assert [path.name for path in folder.iterdir()] == [".lock"]


FETCHER = """
import sys
from pathlib import Path
from tests.ingest.fetch.conftest import job_of, make_fetch
list(make_fetch(Path(sys.argv[1]), timeout_seconds=300.0)(job_of(sys.argv[2])))
"""


@pytest.mark.slow
def test_resumes_after_kill(tmp_path: Path, server: LoopbackServer, film: bytes) -> None:
    """The process is killed while it waits for the rest, which never arrives."""
    body = padded(film, NOTE_BYTES + 9 * MB)
    server.pages["/f.mp4"] = [
        Reply(body=body[: NOTE_BYTES + 5 * MB], headers=V1, announced=len(body), linger_seconds=120)
    ]
    with subprocess.Popen([sys.executable, "-c", FETCHER, str(tmp_path), server.url("/f.mp4")]) as process:
        while not list((tmp_path / "cache").glob(f"*{resume_info.SUFFIX}")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    server.requests.clear()
    assert fetched(tmp_path, server, Reply(body=body, headers=V1)).sha256 == sha256(body)
    (requested,) = ranges(server)
    assert requested is not None
    assert int(requested.removeprefix("bytes=").removesuffix("-")) >= NOTE_BYTES


def test_unchanged_object_is_resumed(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, film: bytes
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"resume-{uuid4().hex[:12]}"
    s3_server.create_bucket(bucket)
    long_film = padded(film, 20 * MB)  # read in pieces of 8 MB
    open_store(f"s3://{bucket}").publish_bytes(long_film, "f.mp4")
    job = job_of(f"s3://{bucket}/f.mp4")
    came: list[int] = []
    write = PartialFile.write

    def terminated(partial: PartialFile, data: bytes) -> None:
        if partial.position >= 8 * MB:
            raise KeyboardInterrupt
        write(partial, data)

    def counted(partial: PartialFile, data: bytes) -> None:
        came.append(len(data))
        write(partial, data)

    for changed in (False, True):
        stage = make_fetch(tmp_path)
        monkeypatch.setattr(PartialFile, "write", terminated)
        with pytest.raises(KeyboardInterrupt):
            list(stage(job))
        if changed:
            open_store(f"s3://{bucket}").delete("f.mp4")
            long_film = padded(film, 21 * MB)
            open_store(f"s3://{bucket}").publish_bytes(long_film, "f.mp4")
        monkeypatch.setattr(PartialFile, "write", counted)
        came.clear()
        (media,) = stage(job)
        assert media.sha256 == sha256(long_film)
        assert sum(came) == (21 if changed else 12) * MB
        stage.release(media)
