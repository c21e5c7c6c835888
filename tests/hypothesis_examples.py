"""How many examples hypothesis tries of a test that names its own number."""

from __future__ import annotations

from hypothesis import settings

BY_DEFAULT = 100
"""Of hypothesis."""


def examples(count: int) -> int:
    """`count`; of the profile of `make test-fast` as small a share as of the tests that name none."""
    return max(1, count * settings().max_examples // BY_DEFAULT)
