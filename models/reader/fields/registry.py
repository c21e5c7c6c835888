"""FIELDS: what a reader can be asked for by name. Any other name is that of a track, `<name>.npy`."""

from __future__ import annotations

from typing import Any

from mien.models.reader.fields.audio import AudioField
from mien.models.reader.fields.faces import FacesField
from mien.models.reader.fields.field import Field
from mien.models.reader.fields.image import ImageField
from mien.models.reader.fields.mfcc import MfccField
from mien.models.reader.fields.text import JsonField, TextField, WordsField
from mien.models.reader.fields.track import TrackField

FIELDS: dict[str, Field[Any]] = {
    "faces": FacesField(),
    "audio": AudioField(),
    "mfcc": MfccField(),
    "text": TextField(),
    "words": WordsField(),
    "json": JsonField(),
    "meta": JsonField(called="meta"),
    "image": ImageField(),
}


def field_of(wanted: str | Field[Any]) -> Field[Any]:
    if isinstance(wanted, Field):
        return wanted
    return FIELDS.get(wanted) or TrackField(wanted)
