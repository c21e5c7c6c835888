"""yt-dlp's log messages: recorded for classifying errors, never printed, without secrets."""

from __future__ import annotations

import logging

from mien.ingest.platforms.secrets import Secrets

_MAX_WARNINGS = 50
_logger = logging.getLogger("mien.ytdlp")


class Log:
    """yt-dlp's option `logger`; one instance per call."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self.warnings: list[str] = []
        """The latest warnings, in order. yt-dlp asks several clients and reports each answer only here."""

    def debug(self, message: str) -> None:
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s", self._secrets.redact(message))

    def info(self, message: str) -> None:
        self.debug(message)

    def warning(self, message: str) -> None:
        self.warnings = [*self.warnings[-_MAX_WARNINGS + 1 :], self._secrets.redact(message)]
        self.debug(message)

    def error(self, message: str) -> None:
        # It is raised as well.
        self.debug(message)
