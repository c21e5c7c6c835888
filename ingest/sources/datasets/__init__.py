"""Labelled datasets. A new dataset is one file and one line here. Every sample gets the labels of its
video."""

from __future__ import annotations

from mien.ingest.sources.datasets.ch_unicamp import CH_UNICAMP
from mien.ingest.sources.datasets.cremad import CREMAD
from mien.ingest.sources.datasets.labelled_dataset import DatasetSource, LabelledDataset, Recording
from mien.ingest.sources.datasets.mead import MEAD
from mien.ingest.sources.datasets.ravdess import RAVDESS

__all__ = ["DATASETS", "DatasetSource", "LabelledDataset", "Recording"]

DATASETS: dict[str, LabelledDataset] = {
    "ravdess": RAVDESS,
    "cremad": CREMAD,
    "mead": MEAD,
    "chunicamp": CH_UNICAMP,
}
