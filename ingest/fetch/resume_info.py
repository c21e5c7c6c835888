"""What is known of a download that broke off, beside its `.part`: the next one goes on with it.

    <hash><extension>.part.begun    how many bytes are good, and what proves that the rest belongs to them

Written only once those bytes are on the disk, so neither a kill nor a crash of the machine can make it wrong.
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
"""Of a note that is being written."""
KEPT_SECONDS = 24 * 3600.0
"""A broken download is gone on with within a day, or begun anew."""
WORTH_BYTES = 1 << 20
"""Less is had again sooner than it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeInfo:
    position: int
    """Bytes from the file's beginning that are good."""
    total_bytes: int
    validator: str
    """A strong ETag or a Last-Modified date (RFC 9110, section 13.1.5); of an object, when it was written."""


def note_of(part: Path) -> Path:
    return part.with_name(part.name + SUFFIX)


def write(part: Path, begun: ResumeInfo) -> None:
    note = note_of(part)
    fresh = note.with_suffix(NEW_SUFFIX)
    fresh.write_text(json.dumps(asdict(begun)), encoding="utf-8")
    fresh.rename(note)


def read(part: Path) -> ResumeInfo | None:
    """None where there is nothing to go on with: no note, one that is old, or one that does not fit."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads(note_of(part).read_text(encoding="utf-8"))
        begun = ResumeInfo(**said)
        if (
            is_fresh(part)
            and 0 < begun.position < begun.total_bytes
            and begun.position <= part.stat().st_size
        ):
            return begun if begun.validator else None
    return None


def is_fresh(part: Path) -> bool:
    try:
        return time.time() - note_of(part).stat().st_mtime < KEPT_SECONDS
    except FileNotFoundError:
        return False


def may_go_on(error: BaseException) -> bool:
    """Whether what `error` ended is worth another's going on with it."""
    if isinstance(error, FetchError):
        return error.policy is Policy.RETRY
    return not isinstance(error, Exception)  # the process is told to end


def forget(part: Path) -> None:
    note = note_of(part)
    note.unlink(missing_ok=True)
    note.with_suffix(NEW_SUFFIX).unlink(missing_ok=True)
