"""The registry of annotators. An annotator is one file in this folder and one line here."""

from __future__ import annotations

from mien.pipelines.annotators.annotator import Annotator
from mien.pipelines.annotators.landmarks import Landmarks
from mien.pipelines.annotators.speaking import Speaking

ANNOTATORS: dict[str, type[Annotator]] = {
    "landmarks": Landmarks,
    "speaking": Speaking,
}


def scalar_types() -> dict[str, str]:
    """Columns that annotators add to the index: name to Parquet type."""
    return {name: kind for annotator in ANNOTATORS.values() for name, kind in annotator.scalars.items()}
