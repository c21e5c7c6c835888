"""Finds this process' rank and the world size, and makes all ranks read the same shards."""

from __future__ import annotations

import os
import sys
from typing import Any

from mien.ingest.errors import ManifestChangedError, UsageError
from mien.models.reader.selection import Selection


def find_rank(rank: int | None, world: int | None) -> tuple[int, int]:
    """(rank, world) as given, else from torch.distributed (which Ray Train initialises), else from torchrun's
    RANK and WORLD_SIZE, else (0, 1). Raises UsageError if only one is given or the values are no numbers."""
    if (rank is None) != (world is None):
        raise UsageError(f"rank and world must be given together; got {rank = }, {world = }")
    if rank is not None and world is not None:
        return rank, world
    distributed = process_group()
    if distributed is not None:
        return distributed.get_rank(), distributed.get_world_size()
    variables = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if None in variables:
        return 0, 1
    try:
        return int(variables[0] or ""), int(variables[1] or "")
    except ValueError as error:
        raise UsageError(
            f"the environment variables RANK={variables[0]!r} and WORLD_SIZE={variables[1]!r} must be numbers"
        ) from error


def process_group() -> Any:
    """torch.distributed if it is initialised. A process that has not imported torch cannot have done that."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    distributed = torch.distributed
    return distributed if distributed.is_available() and distributed.is_initialized() else None


def agree(selection: Selection) -> Selection:
    """Rank 0's selection, on every rank: another rank may have listed a shard that was committed in between.

    A collective call. Raises ManifestChangedError, on every rank.
    """
    distributed = process_group()
    if distributed is None or distributed.get_world_size() == 1:
        return selection
    mine = (selection.manifest_hash, selection.order_hash)
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, mine)
    if len({order for _, order in gathered}) > 1:
        raise ManifestChangedError(
            "the ranks read in different orders; give all ranks the same where, weights and shuffle_window"
        )
    if len(set(gathered)) == 1:
        return selection
    manifests = [[corpus.manifest for corpus in selection.corpora]]
    distributed.broadcast_object_list(manifests, src=0)
    failure, agreed = "", selection
    try:
        agreed = selection.only(manifests[0], why="rank 0 lists other shards than this one")
    except ManifestChangedError as error:
        failure = str(error)
    distributed.all_gather_object(gathered, failure)
    if any(gathered):
        raise ManifestChangedError(next(filter(None, gathered)))
    return agreed
