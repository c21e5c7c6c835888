"""CONTENDERS: each opens the made samples with one library, for one column.

Imported one at a time, by whichever Python has the library.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol


class Contender(Protocol):
    def __call__(self, folder: Any, task: str, workers: int, *, lean: bool) -> Any:
        """An object of which each `iter()` is an epoch of batches (lists of samples, or dicts of tensors)."""


CONTENDERS = {
    "tarfile": "tar",
    "webdataset": "wds",
    "webdataset, simplejpeg": "wds",
    "mosaicml-streaming": "mosaic",
    "litdata": "lit",
    "energon": "energon",
    "mien": "ours",
}
LEAN = frozenset({"webdataset, simplejpeg"})
PEERS = ("mosaicml-streaming", "litdata", "energon")
"""Those that conflict with mien's own packages: run by the Python that `--peers` names."""


def contender(name: str) -> Contender:
    module = import_module(f"tests.bench.reader.contenders.{CONTENDERS[name]}")
    found: Contender = module.open_epochs
    return found
