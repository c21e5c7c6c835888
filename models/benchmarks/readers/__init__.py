"""READERS: each module opens the samples with one library, for one column.

Only one module is imported at a time, by a Python that has the library.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol


class OpenEpochs(Protocol):
    def __call__(self, folder: Any, task: str, workers: int, *, lean: bool) -> Any:
        """Each `iter()` of the result is an epoch of batches (lists of samples, or dicts of tensors)."""


READERS = {
    "tarfile": "tarfile_reader",
    "webdataset": "webdataset_reader",
    "webdataset, simplejpeg": "webdataset_reader",
    "mosaicml-streaming": "mosaicml_reader",
    "litdata": "litdata_reader",
    "energon": "energon_reader",
    "mien": "mien_reader",
}
LEAN = frozenset({"webdataset, simplejpeg"})
PEERS = ("mosaicml-streaming", "litdata", "energon")
"""Libraries that conflict with mien's own packages. They run in the Python of `--peers`."""


def open_reader(name: str) -> OpenEpochs:
    module = import_module(f"mien.models.benchmarks.readers.{READERS[name]}")
    found: OpenEpochs = module.open_epochs
    return found
