"""FIELDS: what a reader can be asked for by name. Any other name is that of a track, `<name>.npy`."""

from __future__ import annotations

from typing import Any

from mien.models.reading.fields.faces import Faces
from mien.models.reading.fields.field import Field
from mien.models.reading.fields.image import Image
from mien.models.reading.fields.mfcc import Mfcc
from mien.models.reading.fields.sound import Audio
from mien.models.reading.fields.track import Track
from mien.models.reading.fields.words import Meta, Text, Words

FIELDS: dict[str, Field[Any]] = {
    "faces": Faces(),
    "audio": Audio(),
    "mfcc": Mfcc(),
    "text": Text(),
    "words": Words(),
    "json": Meta(),
    "meta": Meta(called="meta"),
    "image": Image(),
}


def field_of(wanted: str | Field[Any]) -> Field[Any]:
    if isinstance(wanted, Field):
        return wanted
    return FIELDS.get(wanted) or Track(wanted)
