"""The reader's logger, and how often a process that waits says so."""

from __future__ import annotations

import logging

logger = logging.getLogger("mien.reader")

REPORT_SECONDS = 5.0
