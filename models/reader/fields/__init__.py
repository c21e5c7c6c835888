"""Fields: which part of a sample is decoded, and how the parts of several samples become a batch.

To add a field, write a subclass of `Field` in a file here and add it to FIELDS in registry.py.
"""

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
