"""Turns talking-face video into synchronised WebDataset shards, and reads them for training.

    from mien import ShardReader, Window

`import mien` imports nothing else: each name in `__all__` is imported when it is first used. The symbolic
links beside this file make the repository's four top-level folders its subpackages.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.models.reader.data import Collate, RawSample
    from mien.models.reader.fields.audio import AudioField
    from mien.models.reader.fields.faces import FacesField
    from mien.models.reader.fields.field import Field
    from mien.models.reader.fields.image import ImageField
    from mien.models.reader.fields.mfcc import MfccField
    from mien.models.reader.fields.text import JsonField, TextField, WordsField
    from mien.models.reader.fields.track import TrackField
    from mien.models.reader.fields.window import Window
    from mien.models.reader.loader.loader import Loader
    from mien.models.reader.shard_reader import ShardReader

    __version__: str

__all__ = [
    "AudioField",
    "Collate",
    "FacesField",
    "Field",
    "ImageField",
    "JsonField",
    "Loader",
    "MfccField",
    "RawSample",
    "ShardReader",
    "TextField",
    "TrackField",
    "Window",
    "WordsField",
    "__version__",
]

_MODULES = {
    "AudioField": "mien.models.reader.fields.audio",
    "Collate": "mien.models.reader.data",
    "FacesField": "mien.models.reader.fields.faces",
    "Field": "mien.models.reader.fields.field",
    "ImageField": "mien.models.reader.fields.image",
    "JsonField": "mien.models.reader.fields.text",
    "Loader": "mien.models.reader.loader.loader",
    "MfccField": "mien.models.reader.fields.mfcc",
    "RawSample": "mien.models.reader.data",
    "ShardReader": "mien.models.reader.shard_reader",
    "TextField": "mien.models.reader.fields.text",
    "TrackField": "mien.models.reader.fields.track",
    "Window": "mien.models.reader.fields.window",
    "WordsField": "mien.models.reader.fields.text",
}
"""The module that defines each exported name."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mien")
    if name not in _MODULES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
