"""Turns talking-face video into synchronised WebDataset shards, and reads them for training.

    from mien import ShardReader, Window

Importing `mien` loads nothing else: each name below is imported when it is first used. The four folders at
the top of the repository are this package's subpackages, through the symbolic links beside this file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.models.reader import Loader, RawSample, ShardReader
    from mien.models.reading.fields.field import Field
    from mien.models.reading.fields.window import Window

    __version__: str

__all__ = ["Field", "Loader", "RawSample", "ShardReader", "Window", "__version__"]

_HOMES = {
    "Field": "mien.models.reading.fields.field",
    "Loader": "mien.models.reader",
    "RawSample": "mien.models.reader",
    "ShardReader": "mien.models.reader",
    "Window": "mien.models.reading.fields.window",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mien")
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
