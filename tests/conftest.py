"""For every test: hypothesis judges by outcome and never by time, which on a shared machine means nothing;
and SIGINT interrupts, also where a shell that put the tests into the background made it ignored (POSIX
`command &`), which every program that a test starts would inherit."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("mien", deadline=None)
settings.load_profile("mien")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
