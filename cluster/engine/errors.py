"""Converts exceptions to error values in the worker, and error values to exceptions in the driver."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator

from mien.cluster.engine.interface import ErrorInfo
from mien.ingest import errors
from mien.ingest.errors import MienError, Policy, UnexpectedError, one_line

# The wording of a failed allocation in onnxruntime, ctranslate2, OpenCV, FFmpeg, glibc and threads.
_NO_MEMORY = re.compile(
    r"bad[ _]alloc|failed to allocate|cannot allocate memory|out of memory|insufficient memory"
    r"|can't start new thread|alloc\w* failed",
    re.IGNORECASE,
)
HEAD_CHARACTERS, TAIL_CHARACTERS = 2000, 2000
"""The parts of a long traceback that are stored."""


def classify(error: BaseException) -> ErrorInfo:
    """The error value of `error`. A failed allocation takes precedence over the exceptions that wrap it."""
    tail = _shortened("".join(traceback.format_exception(error)))
    text = _encodable(one_line(str(error) or type(error).__name__))
    if any(_is_memory(link) for link in _chain(error)):
        text = _encodable(
            one_line(f"needs more memory than its stage allows: {type(error).__name__}: {text}")
        )
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
    text = _encodable(one_line(f"{type(error).__name__}: {error}"))
    return ErrorInfo(error_class="UnexpectedError", text=text, policy=Policy.PERMANENT, traceback_tail=tail)


def _shortened(text: str) -> str:
    """Both ends of a traceback: the first cause has the original message, the last lines the call site."""
    text = _encodable(text)
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return f"{text[:HEAD_CHARACTERS]}\n…\n{text[-TAIL_CHARACTERS:]}"


def _encodable(text: str) -> str:
    """`text` without lone surrogates, which file names may contain and UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()


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


def error_from_name(name: str, text: str) -> MienError:
    """An instance of the error class `name`, or UnexpectedError if there is no such class."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, MienError):
        return kind(one_line(text))
    return UnexpectedError(one_line(f"{name}: {text}"))


def permanent_error(error_class: str, text: str) -> ErrorInfo:
    return ErrorInfo(error_class=error_class, text=one_line(text), policy=Policy.PERMANENT)


def not_acknowledged(stage: str) -> ErrorInfo:
    return permanent_error(
        "UnexpectedError", f"stage {stage} was flushed and did not acknowledge the item that it took"
    )


def is_media_fault(name: str) -> bool:
    """Whether failures of this class concern only their item, so that many in a row do not end the run.

    Answers of a platform count as well, except answers that we cannot parse: many of those mean that an
    extractor is out of date. (A bot wall pauses its egress identity, which is enough.)
    """
    kind = getattr(errors, name, None)
    if not isinstance(kind, type) or issubclass(kind, errors.ExtractorError):
        return False
    return issubclass(kind, errors.MediaError | errors.GoneError | errors.PlatformError)
