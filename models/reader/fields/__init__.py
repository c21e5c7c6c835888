"""Fields: what is decoded of a sample, how much of it, and how samples become a batch."""

from mien.models.reader.fields.audio import AudioField
from mien.models.reader.fields.collate import Collator
from mien.models.reader.fields.faces import FacesField
from mien.models.reader.fields.field import Field
from mien.models.reader.fields.image import ImageField
from mien.models.reader.fields.mfcc import MfccField
from mien.models.reader.fields.registry import FIELDS
from mien.models.reader.fields.text import JsonField, TextField, WordsField
from mien.models.reader.fields.track import TrackField
from mien.models.reader.fields.window import Window

__all__ = [
    "FIELDS",
    "AudioField",
    "Collator",
    "FacesField",
    "Field",
    "ImageField",
    "JsonField",
    "MfccField",
    "TextField",
    "TrackField",
    "Window",
    "WordsField",
]
