"""Finds the offset and size of each member of a tar: POSIX ustar and pax (IEEE Std 1003.1), GNU long names.

Python's tarfile takes about 60 µs per header and keeps every member in memory; an unindexed corpus has
millions of members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

BLOCK = 512
_FILES = b"0\0" + b"7"
_LONG_NAME_LIMIT = 1 << 20
_OCTAL = re.compile(rb"[0-7]*")
_DECIMAL = re.compile(r"[0-9]{1,20}")
_SKIPPED = re.compile(r"(^|/)__[^/]*__($|/)")
"""webdataset's convention for files that belong to no sample."""


class TarDamage(Exception):  # noqa: N818 - caught by the caller, which knows the tar's name
    """Not a tar, or truncated."""


@dataclass(slots=True)
class TarSample:
    key: str
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Extension to (offset of the content, size)."""


def scan_samples(tar: BinaryIO, tar_bytes: int) -> Iterator[TarSample]:
    """Samples in the order of the tar, grouped as webdataset groups them: consecutive files with the same
    base name, which ends at the first dot after the last slash. Extensions are lower case.

    Raises TarDamage.
    """
    current: TarSample | None = None
    for name, offset, size in scan_members(tar, tar_bytes):
        folder, slash, base = name.removeprefix("./").rpartition("/")
        stem, dot, extension = base.partition(".")
        if not stem or not dot or _SKIPPED.search(name):
            continue
        key, extension = f"{folder}{slash}{stem}", extension.lower()
        if current is None or current.key != key or extension in current.places:
            if current is not None:
                yield current
            current = TarSample(key)
        current.places[extension] = (offset, size)
    if current is not None:
        yield current


def scan_members(  # noqa: PLR0912 - the format has that many cases
    tar: BinaryIO, tar_bytes: int
) -> Iterator[tuple[str, int, int]]:
    """(name, offset, size) of each regular file. Raises TarDamage."""
    at = 0
    special: dict[str, str] = {}
    for_all: dict[str, str] = {}
    while at < tar_bytes:
        tar.seek(at)
        header = tar.read(BLOCK)
        if len(header) < BLOCK:
            raise TarDamage(f"truncated in the header at byte {at}")
        if not header.strip(b"\0"):
            return
        _check(header, at)
        kind, size, content = header[156:157], _number(header[124:136]), at + BLOCK
        if kind in b"xgLK":
            if size > _LONG_NAME_LIMIT:
                raise TarDamage(f"an extended header of {size} bytes at byte {at}")
            data = tar.read(size)
            if len(data) < size:
                raise TarDamage(f"truncated in the header at byte {at}")
            if kind == b"L":
                special["path"] = _text(data)
            elif kind != b"K":  # the target of a link
                (special if kind == b"x" else for_all).update(_pax(data, at))
        else:
            pax = {**for_all, **special} if special or for_all else special
            special = {}
            if any(name.startswith("GNU.sparse") for name in pax) or kind == b"S":
                raise TarDamage(f"a sparse file at byte {at}, whose content is not contiguous")
            if "size" in pax:
                size = _decimal(pax["size"], at)
            if kind in _FILES:
                if content + size > tar_bytes:
                    raise TarDamage(f"truncated: needs {content + size} bytes, has {tar_bytes}")
                yield pax.get("path") or _name(header), content, size
            elif kind in b"123456":
                size = 0  # a link or a folder has no content, whatever its header says
        at = content + size + -size % BLOCK
    # A writer that is killed between two members leaves such a tar, and members may be missing.
    raise TarDamage(
        "truncated: it has no closing blocks (append 1,024 zero bytes if you know that it is complete)"
    )


def _check(header: bytes, at: int) -> None:
    checksum = header[148:156].strip(b" \0")
    if (
        not checksum
        or not _OCTAL.fullmatch(checksum)
        or sum(header[:148]) + sum(header[156:]) + 8 * 32 != int(checksum, 8)
    ):
        raise TarDamage(f"no tar header at byte {at}")


def _number(data: bytes) -> int:
    if data[0] & 0x80:  # GNU's base 256, for 8 GiB and more
        return int.from_bytes(data, "big") & ((1 << (8 * len(data) - 1)) - 1)
    digits = data.strip(b" \0")
    if not _OCTAL.fullmatch(digits):  # int() accepts a sign; a negative size would make the scan loop forever
        raise TarDamage(f"a size of {data!r}")
    return int(digits or b"0", 8)


def _decimal(text: str, at: int) -> int:
    if not _DECIMAL.fullmatch(text):
        raise TarDamage(f"a size of {text[:40]!r} at byte {at}")
    return int(text)


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax(data: bytes, at: int) -> dict[str, str]:
    """Records of "length key=value\\n", where the length includes its own digits."""
    found = {}
    while data.strip(b"\0"):
        digits, space, _ = data.partition(b" ")
        if (
            not space
            or len(digits) > 20
            or not digits.isdigit()
            or not len(digits) < int(digits) <= len(data)
        ):
            raise TarDamage(f"a damaged pax header at byte {at}")
        key, _, value = data[len(digits) + 1 : int(digits) - 1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[int(digits) :]
    return found
