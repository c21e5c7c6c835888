"""Notes beside a `.part` file that let the next download resume an interrupted one.

    <hash><extension>.part.begun   the number of valid bytes, and a validator for the rest

A note is written only after those bytes are synced to disk, so neither a kill nor a crash can make it wrong.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.ingest.errors import FetchError, Policy

SUFFIX = ".begun"
NEW_SUFFIX = ".begin"
"""Suffix of a note that is being written."""
RESUMABLE_SECONDS = 24 * 3600.0
"""Interrupted downloads can be resumed for 24 hours; older ones start over."""
WORTH_BYTES = 1 << 20
"""Fetching a shorter part again is faster than resuming it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeInfo:
    position: int
    """The number of valid bytes from the beginning of the file."""
    total_bytes: int
    validator: str
    """A strong ETag or Last-Modified date (RFC 9110, section 13.1.5); for objects, the modification time."""


def note_of(part: Path) -> Path:
    return part.with_name(part.name + SUFFIX)


def write(part: Path, info: ResumeInfo) -> None:
    note = note_of(part)
    fresh = note.with_suffix(NEW_SUFFIX)
    fresh.write_text(json.dumps(asdict(info)), encoding="utf-8")
    fresh.rename(note)


def read(part: Path) -> ResumeInfo | None:
    """None if nothing can be resumed: no note, an old one, or one that does not match the file."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(note_of(part).read_text(encoding="utf-8"))
        info = ResumeInfo(**stored)
        if is_fresh(part) and 0 < info.position < info.total_bytes and info.position <= part.stat().st_size:
            return info if info.validator else None
    return None


def is_fresh(part: Path) -> bool:
    try:
        return time.time() - note_of(part).stat().st_mtime < RESUMABLE_SECONDS
    except FileNotFoundError:
        return False


def is_resumable(error: BaseException) -> bool:
    """Whether a download that ended with `error` may be resumed by another one."""
    if isinstance(error, FetchError):
        return error.policy is Policy.RETRY
    return not isinstance(error, Exception)  # the process was asked to stop


def forget(part: Path) -> None:
    note = note_of(part)
    note.unlink(missing_ok=True)
    note.with_suffix(NEW_SUFFIX).unlink(missing_ok=True)
