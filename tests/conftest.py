"""For every test: hypothesis judges by outcome and never by time, which on a shared machine means nothing."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("mien", deadline=None)
settings.load_profile("mien")
