"""Sums over ranks do not depend on how the terms are divided."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.errors import UsageError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
from mien.models.examples.exact import LIMIT, MAX_TERMS, STEP_BITS, ExactSum  # noqa: E402

terms = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=40)


def sum_of(values: list[float]) -> tuple[list[float], int]:
    total = ExactSum(1, terms=len(values))
    for value in values:
        total.add(torch.tensor([value], dtype=torch.float64))
    sums, count = total.over_ranks(len(values))
    return sums.tolist(), count


@given(values=terms, seed=st.integers(0, 1000))
def test_sum_ignores_order_of_terms(values: list[float], seed: int) -> None:
    shuffled = random.Random(seed).sample(values, len(values))
    assert sum_of(shuffled) == sum_of(values)


@given(values=terms)
def test_sum_error_is_half_a_step_per_term(values: list[float]) -> None:
    sums, count = sum_of(values)
    rounding = abs(sum(values)) * 1e-12
    assert abs(sums[0] - sum(values)) <= len(values) * 2.0**-STEP_BITS + rounding
    assert count == len(values)


def test_plain_float_sums_depend_on_order() -> None:
    """The problem that ExactSum solves."""
    values = [0.1] * 10 + [1e4]
    assert sum(values) != sum(reversed(values))
    assert sum_of(values) == sum_of(values[::-1])


@pytest.mark.parametrize("value", [LIMIT, -LIMIT, float("nan"), float("inf")])
def test_rejects_values_beyond_limit(value: float) -> None:
    with pytest.raises(OverflowError, match="gradient"):
        sum_of([value])


def test_max_terms_of_max_size_fit() -> None:
    largest = LIMIT - 1.0
    sums, _ = sum_of([largest] * MAX_TERMS)
    assert sums == [largest * MAX_TERMS]
    with pytest.raises(UsageError, match="micro-batches"):
        ExactSum(1, terms=MAX_TERMS + 1)
