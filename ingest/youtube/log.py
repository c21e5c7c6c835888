"""What yt-dlp says while it works: kept for the error table, never printed, secrets removed."""

from __future__ import annotations

import logging

from mien.ingest.youtube.secrets import Secrets

_KEPT = 50
_logger = logging.getLogger("mien.youtube")


class Log:
    """yt-dlp's option `logger`. One for each call: it belongs to one video."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self.warnings: list[str] = []
        """The last ones, in order; several clients are asked, and what each answered is only said here."""

    def debug(self, message: str) -> None:
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s", self._secrets.redact(message))

    def info(self, message: str) -> None:
        self.debug(message)

    def warning(self, message: str) -> None:
        self.warnings = [*self.warnings[-_KEPT + 1 :], self._secrets.redact(message)]
        self.debug(message)

    def error(self, message: str) -> None:
        # Raised as well, and told there.
        self.debug(message)
