"""For every test: hypothesis judges by outcome and never by time, not even by that of making up examples,
which on a shared machine means nothing, and tries a quarter of them for `make test-fast`; no collection of
garbage goes through the tests themselves; and SIGINT interrupts, also where a shell that put the tests into
the background made it ignored (POSIX `command &`), which every program that a test starts would inherit."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("mien", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("mien"), max_examples=25)  # by --hypothesis-profile
settings.load_profile("mien")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Two thousand tests and torch are a million objects, which every collection would go through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_setting_stays() -> Iterator[None]:
    """A command that is run in this process leaves its weights' settings here, for its workers."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MIEN_")}
    yield
    for name in [name for name in os.environ if name.startswith("MIEN_")]:
        del os.environ[name]
    os.environ.update(before)
