"""torch's loader around what a library gives, in one process or with workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.bench.reader.columns import BATCH, SINGLE
from tests.bench.reader.usual import collator


def steps(samples: Iterable[Any], task: str, *, lean: bool) -> Iterator[Any]:
    """Single samples where the column asks for no batches, else collated ones."""
    if task in SINGLE:
        yield from ([sample] for sample in samples)
        return
    collate, held = collator(lean=lean), list[Any]()
    for sample in samples:
        held.append(sample)
        if len(held) == BATCH:
            yield collate(held)
            held = []
    if held:
        yield collate(held)


def with_workers(dataset: Any, workers: int) -> Any:
    """Batches made in the workers cross by torch's shared memory; the workers live on between epochs."""
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
