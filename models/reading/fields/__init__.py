"""Fields: what is decoded of a sample, how much of it, and how samples become a batch."""

from models.reading.fields.collate import Collator
from models.reading.fields.faces import Faces
from models.reading.fields.field import Field
from models.reading.fields.image import Image
from models.reading.fields.mfcc import Mfcc
from models.reading.fields.registry import FIELDS
from models.reading.fields.sound import Audio
from models.reading.fields.track import Track
from models.reading.fields.window import Window
from models.reading.fields.words import Meta, Text, Words

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
