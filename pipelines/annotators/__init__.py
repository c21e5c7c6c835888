"""The registry of annotators. An annotator is one file in this folder and one line here."""

from __future__ import annotations

from mien.pipelines.annotators.annotator import Annotator
from mien.pipelines.annotators.landmarks import Landmarks
from mien.pipelines.annotators.speaking import Speaking

RESERVED_MEMBERS = frozenset({"json", "txt", "flac", "faces", "times"})

ANNOTATORS: dict[str, type[Annotator]] = {
    "landmarks": Landmarks,
    "speaking": Speaking,
}


def scalar_types() -> dict[str, str]:
    """Columns that annotators add to the index: name to Parquet type.

    Raises:
        ValueError: two annotators declare the same column, or an annotator has the name of another member.
    """
    types: dict[str, str] = {}
    for annotator in ANNOTATORS.values():
        if annotator.name in RESERVED_MEMBERS:
            raise ValueError(f"annotator {annotator.name}: each sample has a member of that name; rename it")
        if taken := types.keys() & annotator.scalars.keys():
            raise ValueError(
                f"annotator {annotator.name}: another annotator has the scalar {min(taken)}; rename it"
            )
        types |= annotator.scalars
    return types
