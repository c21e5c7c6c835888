"""Opens local files without blocking on pipes and devices, and hashes them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from mien.ingest.errors import (
    AccessDeniedError,
    ChangedFileError,
    EmptyFileError,
    MediaError,
    MissingFileError,
    NotAFileError,
    StorageError,
    one_line,
)

_CHUNK_BYTES = 256 << 10
"""Fits into the cache of a core, so hashing does not read from memory."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_MISSING = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV}
)


def open_regular(path: str) -> int:
    """A descriptor of the regular, non-empty file at `path`; the caller closes it.

    Raises:
        MissingFileError: no such file, or a broken link.
        AccessDeniedError: no permission to find or read it.
        NotAFileError: a folder, a named pipe, a socket, a device. None of them is opened.
        EmptyFileError: it has no bytes.
        StorageError: the disk or the network file system failed.
    """
    name = shown(path)
    try:
        _check_kind(os.stat(path), name)  # noqa: PTH116
        # It may be a pipe by now, and opening it must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _reason(path, name, error) from error
    try:
        info = os.fstat(descriptor)
        _check_kind(info, name)
        if info.st_size == 0:
            raise EmptyFileError(f"{name}: the file is empty; copy or download it again")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sha256_of(path: str) -> tuple[str, os.stat_result]:
    """The hash of the file's bytes, and its status before the first byte was read.

    Raises:
        ChangedFileError: it was changed during the read.
        Also the errors of `open_regular`.
    """
    descriptor = open_regular(path)
    digest = hashlib.sha256()
    read = 0
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        info = os.fstat(descriptor)
        try:
            while size := file.readinto(buffer):
                digest.update(buffer[:size])
                read += size
        except OSError as error:
            raise _reason(path, shown(path), error) from error
    if read != info.st_size:
        raise _changed(path)
    check_unchanged(path, info)
    return digest.hexdigest(), info


def check_unchanged(path: str, before: os.stat_result) -> None:
    """Raises ChangedFileError if the file at `path` has changed since `before`."""
    try:
        now = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise _changed(path) from error
    if _identity(now) != _identity(before):
        raise _changed(path)


def shown(path: str) -> str:
    """`path` for a message: printable, in one line."""
    return one_line(path.encode("utf-8", "backslashreplace").decode())


def _identity(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _changed(path: str) -> ChangedFileError:
    return ChangedFileError(
        f"{shown(path)}: the file changed while it was read; wait until it is complete, then retry it"
    )


def _check_kind(info: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = next((kind for test, kind in _KINDS if test(info.st_mode)), "not a regular file")
        raise NotAFileError(f"{name}: this is {kind}; give a video file")


def _reason(path: str, name: str, error: OSError | ValueError) -> MediaError | StorageError:
    if isinstance(error, ValueError):
        return MissingFileError(f"{name}: this is not a valid path ({error}); correct the name")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return AccessDeniedError(f"{name}: no permission to read it; change its mode or its owner")
    if error.errno in _MISSING:
        if os.path.islink(path):  # noqa: PTH114
            target = shown(os.readlink(path))  # noqa: PTH115
            return MissingFileError(f"{name}: a broken link to {target}; correct or remove it")
        return MissingFileError(f"{name}: no such file; correct the path or remove the video")
    return StorageError(
        f"{name}: it cannot be read ({error.strerror}); check the disk, it is tried again later"
    )
