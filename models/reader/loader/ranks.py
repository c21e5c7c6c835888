"""Which of how many this process is, and that all of them read the same."""

from __future__ import annotations

import os
import sys
from typing import Any

from mien.ingest.errors import ManifestChangedError, UsageError
from mien.models.reader.selection import Selection


def find_rank(rank: int | None, world: int | None) -> tuple[int, int]:
    """(rank, world) as given; else of torch.distributed (Ray Train starts that); else of torchrun's RANK
    and WORLD_SIZE; else (0, 1). Raises UsageError: one of the two alone, or no numbers."""
    if (rank is None) != (world is None):
        raise UsageError(f"rank and world are given together; got {rank = }, {world = }")
    if rank is not None and world is not None:
        return rank, world
    distributed = process_group()
    if distributed is not None:
        return distributed.get_rank(), distributed.get_world_size()
    told = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if None in told:
        return 0, 1
    try:
        return int(told[0] or ""), int(told[1] or "")
    except ValueError as error:
        raise UsageError(
            f"RANK={told[0]!r} and WORLD_SIZE={told[1]!r} in the environment are no numbers"
        ) from error


def process_group() -> Any:
    """torch.distributed where it is initialised; who has not imported torch has not done that."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    distributed = torch.distributed
    return distributed if distributed.is_available() and distributed.is_initialized() else None


def agree(selection: Selection) -> Selection:
    """Rank 0's selection, on every rank: another may have listed a shard that was committed in between.

    A collective call. Raises ManifestChangedError, on every rank.
    """
    distributed = process_group()
    if distributed is None or distributed.get_world_size() == 1:
        return selection
    mine = (selection.manifest_hash, selection.order_hash)
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, mine)
    if len({order for _, order in everyone}) > 1:
        raise ManifestChangedError(
            "the ranks read in different orders: give all of them the same filter, weights and window"
        )
    if len(set(everyone)) == 1:
        return selection
    told = [[corpus.manifest for corpus in selection.corpora]]
    distributed.broadcast_object_list(told, src=0)
    failure, chosen = "", selection
    try:
        chosen = selection.only(told[0], why="rank 0 lists other shards than this one")
    except ManifestChangedError as error:
        failure = str(error)
    distributed.all_gather_object(everyone, failure)
    if any(everyone):
        raise ManifestChangedError(next(filter(None, everyone)))
    return chosen
