"""Sums over ranks that come out the same, bit for bit, however many ranks there are.

Floating-point addition is not associative, so a sum of gradients depends on how a batch is spread over ranks.
Here a batch is made of micro-batches, which are the same on every world; the gradient of each is computed
alone, and rounded to a multiple of 2**-STEP_BITS. Those are integers, and integers may be added in any order
(the idea of Demmel and Nguyen, "Fast reproducible floating-point summation", ARITH 2013, with one fixed bin).
It costs 8 bytes a parameter and step on the wire, twice what float32 would.

Who can do without bit-equality wraps the model in DistributedDataParallel instead: then worlds agree up to
rounding, and the reader still gives every world the same batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Before there is a process group: its functions have the group of their import for a default, an optimizer
# imports them sooner or later, and a group that is held so outlives destroy_process_group. Its threads then
# meet the interpreter's end, and abort the process now and then (seen with torch 2.13).
import torch.distributed.nn.functional
from torch import Tensor, distributed

from mien.ingest.errors import UsageError

STEP_BITS = 36
"""Steps of 1.5e-11."""
LIMIT = 2.0 ** (52 - STEP_BITS)
"""Of a value; below it float64 holds every step."""
MOST_TERMS = 1024
"""So many values of that size fit an int64."""


class ExactSum:
    """Of `terms` vectors (size,) float64, counted over all ranks. Raises UsageError: too many terms."""

    def __init__(self, size: int, *, terms: int) -> None:
        if terms > MOST_TERMS:
            raise UsageError(f"at most {MOST_TERMS} micro-batches a step, got {terms}; take larger ones")
        self._sum = torch.zeros(size + 1, dtype=torch.int64)

    def add(self, values: Tensor) -> None:
        """Raises OverflowError where a value is beyond LIMIT, or is no number."""
        if not bool((values.abs() < LIMIT).all()):
            raise OverflowError(
                f"a gradient beyond {LIMIT:.0f} or not a number: lower the learning rate, or look at the data"
            )
        self._sum[:-1] += (values * 2.0**STEP_BITS).round().to(torch.int64)

    def over_ranks(self, count: int) -> tuple[Tensor, int]:
        """The sums (size,) float64, and the sum of `count`, of all ranks. A collective call."""
        self._sum[-1] = count
        if distributed.is_initialized():
            distributed.all_reduce(self._sum)
        return self._sum[:-1].to(torch.float64) / 2.0**STEP_BITS, int(self._sum[-1])


@contextmanager
def in_group() -> Iterator[int]:
    """The process group that torchrun tells of, or none where there is no torchrun. Gives the rank. At its
    end the group's threads are gone."""
    if "RANK" not in os.environ:
        yield 0
        return
    distributed.init_process_group("gloo")
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()
