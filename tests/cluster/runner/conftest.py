from __future__ import annotations

import pytest


@pytest.fixture
def run_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Captures what a run logs."""
    caplog.set_level("INFO", "mien.run")
    return caplog
