"""Logs: structlog over the standard library's logging, as text for people or as JSON lines for programs.

Modules of `cluster` log with `get_logger`; the folders below use `logging.getLogger("mien.…")` and need no
structlog. All records go through the one handler that `configure` installs. Importing this module is cheap:
structlog is imported when it is first needed.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger
    from structlog.typing import EventDict, Processor

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
FORMAT_VARIABLE, LEVEL_VARIABLE = "MIEN_LOG_FORMAT", "MIEN_LOG_LEVEL"

Format = Literal["text", "json"]


def get_logger(name: str) -> BoundLogger:
    """A structlog logger over the standard logger `name`. Its key-value pairs become the record's `extra`.

    Every record also carries the pairs that `structlog.contextvars` holds, such as the run's id.
    """
    import structlog

    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger


def configure(*, format: str = "text", level: str = "info") -> None:
    """Sends what `mien.*` logs at `level` or above to stderr. Calling it again replaces the settings."""
    handler = _StderrHandler()
    handler.setFormatter(_formatter(format))
    logger = logging.getLogger("mien")
    for each in [each for each in logger.handlers if isinstance(each, _StderrHandler)]:
        logger.removeHandler(each)
    logger.addHandler(handler)
    logger.setLevel(level.upper())


def configure_from_environment() -> None:
    """`configure` with $MIEN_LOG_FORMAT and $MIEN_LOG_LEVEL. The command line sets both from its options."""
    format, level = os.environ.get(FORMAT_VARIABLE, ""), os.environ.get(LEVEL_VARIABLE, "")
    configure(
        format=format if format in FORMATS else "text",
        level=level if level in LEVELS else "info",
    )


def writes_json() -> bool:
    """Whether logs are configured as JSON lines in this process."""
    handlers = (each for each in logging.getLogger("mien").handlers if isinstance(each, _StderrHandler))
    return any(getattr(handler.formatter, "is_json", False) for handler in handlers)


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to the current `sys.stderr`: a progress bar replaces it while it is drawn."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, _: Any) -> None:
        raise AttributeError("the stream is always sys.stderr")


def _formatter(format: str) -> logging.Formatter:
    import structlog

    is_json = format == "json"
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(),
        _drop_ray_fields,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if is_json
        else structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
    ]
    renderers: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if is_json:
        renderers += [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        renderers += [
            _drop_logger_name,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=0,
                pad_level=False,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=chain, processors=renderers)
    formatter.is_json = is_json  # type: ignore[attr-defined]
    return formatter


def _drop_ray_fields(_: Any, __: str, event: EventDict) -> EventDict:
    """Ray adds fields of its own to all log records of a process that imported it."""
    for key in [key for key in event if key.startswith("_ray")]:
        del event[key]
    return event


def _drop_logger_name(_: Any, __: str, event: EventDict) -> EventDict:
    event.pop("logger", None)
    return event
