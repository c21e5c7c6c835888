"""Gradient sums that are identical, bit for bit, for any number of ranks.

Floating-point addition is not associative, so a sum of gradients depends on how a batch is divided among
ranks. Here a batch consists of micro-batches that do not depend on the number of ranks. The gradient of each
micro-batch is computed separately and rounded to a multiple of 2**-STEP_BITS. These multiples are integers,
and integers can be added in any order (the idea of Demmel and Nguyen, "Fast reproducible floating-point
summation", ARITH 2013, with one fixed bin). The cost is 8 bytes per parameter and step on the network, twice
as much as float32.

If you do not need bit-equality, wrap the model in DistributedDataParallel instead. Results for different
numbers of ranks then agree up to rounding, and the reader still gives the same batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# This import must come before a process group exists. The module's functions use the group that exists when
# they are imported as a default argument, and an optimizer imports the module eventually. A group referenced
# that way survives destroy_process_group, and its threads sometimes abort the process when the interpreter
# exits (seen with torch 2.13).
import torch.distributed.nn.functional
from torch import Tensor, distributed

from mien.ingest.errors import UsageError

STEP_BITS = 36
"""The rounding step is 2**-36, or 1.5e-11."""
LIMIT = 2.0 ** (52 - STEP_BITS)
"""Bound of a value's magnitude. Below it float64 represents every step."""
MAX_TERMS = 1024
"""The sum of this many values below LIMIT fits an int64."""


class ExactSum:
    """The sum of `terms` vectors (size,) float64 over all ranks. Raises UsageError if there are too many."""

    def __init__(self, size: int, *, terms: int) -> None:
        if terms > MAX_TERMS:
            raise UsageError(
                f"at most {MAX_TERMS} micro-batches per step, got {terms}; use larger micro-batches"
            )
        self._sum = torch.zeros(size + 1, dtype=torch.int64)

    def add(self, values: Tensor) -> None:
        """Raises OverflowError if a value exceeds LIMIT or is not finite."""
        if not bool((values.abs() < LIMIT).all()):
            raise OverflowError(
                f"a gradient exceeds {LIMIT:.0f} or is not finite; lower the learning rate or check the data"
            )
        self._sum[:-1] += (values * 2.0**STEP_BITS).round().to(torch.int64)

    def over_ranks(self, count: int) -> tuple[Tensor, int]:
        """The sum of the vectors (size,) float64 and the sum of `count` over all ranks. A collective call."""
        self._sum[-1] = count
        if distributed.is_initialized():
            distributed.all_reduce(self._sum)
        return self._sum[:-1].to(torch.float64) / 2.0**STEP_BITS, int(self._sum[-1])


@contextmanager
def in_group() -> Iterator[int]:
    """Joins torchrun's process group, if there is one, and gives the rank. Leaves the group at the end."""
    if "RANK" not in os.environ:
        yield 0
        return
    distributed.init_process_group("gloo")
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()
