"""Settings for all tests.

- hypothesis has no time limits, because times on a shared machine mean nothing. `make test-fast` runs a
  quarter of the examples.
- Garbage collection skips the objects that test collection has created.
- SIGINT interrupts. A shell that starts the tests in the background (`command &`) ignores SIGINT, and every
  program that a test starts would inherit this.
- MIEN_ environment variables are restored after each test.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("mien", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("mien"), max_examples=25)
settings.load_profile("mien")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Two thousand tests and torch are a million objects. Exclude them from later garbage collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _restore_environment() -> Iterator[None]:
    """A command that runs in this process sets weights variables for its workers."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MIEN_")}
    yield
    for name in [name for name in os.environ if name.startswith("MIEN_")]:
        del os.environ[name]
    os.environ.update(before)
