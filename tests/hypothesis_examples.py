"""The number of hypothesis examples for tests that set their own number."""

from __future__ import annotations

from hypothesis import settings

DEFAULT_EXAMPLES = 100
"""hypothesis' default."""


def examples(count: int) -> int:
    """`count`, scaled down by the same factor as other tests if `make test-fast` selects its profile."""
    return max(1, count * settings().max_examples // DEFAULT_EXAMPLES)
