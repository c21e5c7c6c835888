"""Exceptions to names and back: what a worker says of an exception, and what the run raises for it."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator

from mien.cluster.engine.interface import ErrorInfo
from mien.ingest import errors
from mien.ingest.errors import MienError, Policy, UnexpectedError, one_line

# How native libraries word a failed allocation: onnxruntime, ctranslate2, OpenCV, FFmpeg, glibc, threads.
_NO_MEMORY = re.compile(
    r"bad[ _]alloc|failed to allocate|cannot allocate memory|out of memory|insufficient memory"
    r"|can't start new thread|alloc\w* failed",
    re.IGNORECASE,
)
HEAD_CHARACTERS, TAIL_CHARACTERS = 2000, 2000
"""Of a traceback that is kept."""


def classify(error: BaseException) -> ErrorInfo:
    """The class, policy and text under which `error` is kept. Memory comes first, whatever wraps it."""
    tail = _shortened("".join(traceback.format_exception(error)))
    text = one_line(str(error) or type(error).__name__)
    if any(_is_memory(link) for link in _chain(error)):
        text = one_line(f"needs more memory than its stage allows: {type(error).__name__}: {text}")
        return ErrorInfo(
            error_class="OutOfMemoryError", text=text, policy=Policy.PERMANENT, traceback_tail=tail
        )
    if isinstance(error, MienError):
        return ErrorInfo(
            error_class=type(error).__name__,
            text=text,
            policy=error.policy,
            traceback_tail=tail,
            circuit=error.circuit,
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
            usage_requests=error.usage_requests,
            usage_bytes=error.usage_bytes,
        )
    text = one_line(f"{type(error).__name__}: {error}")
    return ErrorInfo(error_class="UnexpectedError", text=text, policy=Policy.PERMANENT, traceback_tail=tail)


def _shortened(text: str) -> str:
    """Both ends: the first cause has what was really said, the last lines where it came to light."""
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return f"{text[:HEAD_CHARACTERS]}\n…\n{text[-TAIL_CHARACTERS:]}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return not isinstance(error, MienError) and _NO_MEMORY.search(str(error)) is not None


def error_named(name: str, text: str) -> MienError:
    """An instance of the class of the error tree called `name`; UnexpectedError where there is none."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, MienError):
        return kind(one_line(text))
    return UnexpectedError(one_line(f"{name}: {text}"))


def plain(error_class: str, text: str) -> ErrorInfo:
    return ErrorInfo(error_class=error_class, text=one_line(text), policy=Policy.PERMANENT)


def never_answered(stage: str) -> ErrorInfo:
    return plain("UnexpectedError", f"stage {stage} took it, was flushed, and never answered for it")


def is_media_fault(name: str) -> bool:
    """Whether failures of this class say something of the item alone, however many there are in a row.

    So does what a platform answers, but for answers that nobody understands: many of those are an extractor
    that is out of date. (A bot wall pauses its egress identity, and needs no other end.)
    """
    kind = getattr(errors, name, None)
    if not isinstance(kind, type) or issubclass(kind, errors.ExtractorError):
        return False
    return issubclass(kind, errors.MediaError | errors.GoneError | errors.PlatformError)
