"""The reader's logger, and the interval at which waiting processes report."""

from __future__ import annotations

import logging

logger = logging.getLogger("mien.reader")

REPORT_SECONDS = 5.0
