from __future__ import annotations

import hashlib
import os
import pickle
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.ingest.errors import (
    AccessDeniedError,
    ChangedFileError,
    ConfigError,
    EmptyFileError,
    MediaError,
    MissingFileError,
    NotAFileError,
    NotMediaError,
    Policy,
    TruncatedMediaError,
)
from mien.ingest.fetch import Fetch
from mien.ingest.fetch.local import check_unchanged, sha256_of
from mien.ingest.sources import expand
from tests.ingest.fetch.conftest import job_of

NOBODY = 65534


def test_a_film_is_read_where_it_is(fetch: Fetch, film_path: Path, film: bytes) -> None:
    (media,) = fetch(job_of(str(film_path)))
    assert media.path == str(film_path)
    assert media.sha256 == hashlib.sha256(film).hexdigest()
    assert media.bytes == len(film)
    fetch.release(media)
    assert film_path.exists()
    assert not Path(fetch.cache_dir).exists()
    with fetch.local_copy(media) as path:
        assert path == str(film_path)


def test_a_name_that_is_not_utf8_is_read(fetch: Fetch, film: bytes, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    Path(path).write_bytes(film)
    (ref,) = expand(str(tmp_path))
    (media,) = fetch(job_of(ref.uri))
    assert media.path == path
    assert pickle.loads(pickle.dumps(media)) == media  # noqa: S301


def test_a_link_to_a_film(fetch: Fetch, film_path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(film_path)
    (media,) = fetch(job_of(str(tmp_path / "link.mp4")))
    assert media.path == str(tmp_path / "link.mp4")


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("missing", MissingFileError, "no such file"),
        ("below a file", MissingFileError, "no such file"),
        ("dead link", MissingFileError, "broken link"),
        ("link loop", MissingFileError, "broken link"),
        ("folder", NotAFileError, "a folder"),
        ("fifo", NotAFileError, "a named pipe"),
        ("link to fifo", NotAFileError, "a named pipe"),
        ("socket", NotAFileError, "a socket"),
        ("device", NotAFileError, "a device"),
        ("empty", EmptyFileError, "empty"),
        ("text", NotMediaError, "a.mp4"),
        ("too long", MissingFileError, "no such file"),
        ("nul", MissingFileError, "not a valid path"),
    ],
)
def test_non_film_is_reported(
    fetch: Fetch, tmp_path: Path, kind: str, error: type[MediaError], says: str
) -> None:
    path = tmp_path / "a.mp4"
    if kind == "below a file":
        path.touch()
        path = path / "b.mp4"
    elif kind == "dead link":
        path.symlink_to("nowhere")
    elif kind == "link loop":
        path.symlink_to("a.mp4")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to fifo":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    elif kind == "socket":
        with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as plug:
            plug.bind(f"{short}/s.mp4")
            with pytest.raises(error, match=says):
                fetch(job_of(f"{short}/s.mp4"))
        return
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no film at all\n" * 100)
    elif kind == "too long":
        path = tmp_path / ("x" * 300)
    uri = f"{path}\0" if kind == "nul" else str(path)
    with pytest.raises(error, match=says) as raised:
        fetch(job_of(uri))
    assert raised.value.policy is Policy.PERMANENT
    assert "\n" not in str(raised.value)
    assert str(tmp_path)[:20] in str(raised.value) or kind == "device"


@pytest.fixture
def secret_film(film: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "secret.mp4"
        path.write_bytes(film)
        path.chmod(0)
        Path(name).chmod(0o755)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(NOBODY)
        try:
            yield path
        finally:
            if was_root:
                os.seteuid(0)


def test_a_file_that_may_not_be_read(fetch: Fetch, secret_film: Path) -> None:
    with pytest.raises(AccessDeniedError, match="permission"):
        fetch(job_of(str(secret_film)))


def test_a_cut_local_file_is_permanent(fetch: Fetch, film: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(film[: len(film) * 3 // 4])
    with pytest.raises(TruncatedMediaError) as raised:
        fetch(job_of(str(path)))
    assert raised.value.policy is Policy.PERMANENT


@pytest.mark.parametrize("how", ["grows", "shrinks", "is written over"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "changing.mp4"
    path.write_bytes(bytes(4 << 20))
    os.utime(path, (0, 0))

    class Meanwhile:
        """A hash that is busy with the first of what was read while somebody writes to the file."""

        def update(self, _: object) -> None:
            if path.stat().st_mtime == 0:
                with path.open("r+b") as file:
                    file.seek(0, os.SEEK_SET if how == "is written over" else os.SEEK_END)
                    file.write(b"x") if how != "shrinks" else file.truncate(3 << 20)
                os.utime(path)

    monkeypatch.setattr("mien.ingest.fetch.local.hashlib.sha256", Meanwhile)
    with pytest.raises(ChangedFileError, match="changed while it was read"):
        sha256_of(str(path))


def test_a_file_that_is_replaced_after_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    _, before = sha256_of(str(path))
    check_unchanged(str(path), before)
    (tmp_path / "b.mp4").write_bytes(b"two")
    (tmp_path / "b.mp4").rename(path)
    with pytest.raises(ChangedFileError):
        check_unchanged(str(path), before)


@pytest.mark.parametrize("option", ["cache_max_bytes", "timeout_seconds", "max_bytes", "attempts"])
def test_senseless_options_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"fetch.{option}"):
        Fetch(**{option: 0})  # type: ignore[arg-type]
