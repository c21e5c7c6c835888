"""Fields: what is decoded of a sample, how much of it, and how samples become a batch."""

from mien.models.reading.fields.collate import Collator
from mien.models.reading.fields.faces import Faces
from mien.models.reading.fields.field import Field
from mien.models.reading.fields.image import Image
from mien.models.reading.fields.mfcc import Mfcc
from mien.models.reading.fields.registry import FIELDS
from mien.models.reading.fields.sound import Audio
from mien.models.reading.fields.track import Track
from mien.models.reading.fields.window import Window
from mien.models.reading.fields.words import Meta, Text, Words

__all__ = [
    "FIELDS",
    "Audio",
    "Collator",
    "Faces",
    "Field",
    "Image",
    "Meta",
    "Mfcc",
    "Text",
    "Track",
    "Window",
    "Words",
]
