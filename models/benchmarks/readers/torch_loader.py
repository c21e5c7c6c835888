"""torch's DataLoader around another library, in one process or with workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mien.models.benchmarks.columns import BATCH, SINGLE
from mien.models.benchmarks.peer_decoding import collator


def steps(samples: Iterable[Any], task: str, *, lean: bool) -> Iterator[Any]:
    """Single samples or collated batches, depending on the task."""
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
    """Workers pass batches through torch's shared memory, and stay alive between epochs."""
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
