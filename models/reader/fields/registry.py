"""FIELDS: the fields that have a name. Any other name stands for the track `<name>.npy`."""

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
    "meta": JsonField("meta"),
    "image": ImageField(),
}


def field_of(requested: str | Field[Any]) -> Field[Any]:
    """The field with this name, or the field itself."""
    if isinstance(requested, Field):
        return requested
    return FIELDS.get(requested) or TrackField(requested)
