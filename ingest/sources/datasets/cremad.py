"""CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset (91 actors, American English).

Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244; the naming is that of its repository,
CheyneyComputerScience/CREMA-D: actor_sentence_emotion_level, as in `1001_IEO_ANG_HI.flv`. Each recording
is stored as VideoFlash/*.flv, AudioMP3/*.mp3 and AudioWAV/*.wav, under one name. The label is the emotion
that the actor was asked to show. The raters' labels are in the dataset's own tables, which are not read here.

If git-lfs was missing when the repository was cloned, each file contains a line of text and fails as
NotMediaError.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from mien.ingest.sources.datasets.labelled_dataset import LabelledDataset, Recording, decode_labels

LABELS: dict[str, dict[str, str]] = {
    "actor": {str(number): str(number) for number in range(1001, 1092)},
    "statement": {
        "IEO": "It's eleven o'clock",
        "TIE": "That is exactly what happened",
        "IOM": "I'm on my way to the meeting",
        "IWW": "I wonder what this is about",
        "TAI": "The airplane is almost full",
        "MTI": "Maybe tomorrow it will be cold",
        "IWL": "I would like a new alarm clock",
        "ITH": "I think I have a doctor's appointment",
        "DFA": "Don't forget a jacket",
        "ITS": "I think I've seen this before",
        "TSI": "The surface is slick",
        "WSI": "We'll stop in a couple of minutes",
    },
    "emotion": {
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fearful",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    },
    "intensity": {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"},
}
BROKEN = frozenset(
    {
        "1064_IEO_DIS_MD",  # a minute long: the sentence in every emotion
        "1064_TIE_SAD_XX",  # ends after a fraction of a second
        "1076_MTI_NEU_XX",  # three frames
        "1076_MTI_SAD_XX",  # silent
    }
)
"""Recordings that users report as broken; they are left out."""
# The dataset itself contains one file that ends in _X.
_NAME = re.compile(
    r"(?P<actor>\d{4})_(?P<statement>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<intensity>LO|MD|HI|XX?)", re.ASCII
)


def read(path: PurePosixPath) -> Recording | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    codes = match.groupdict()
    if codes["intensity"] == "X":
        codes["intensity"] = "XX"
    labels = decode_labels(LABELS, codes)
    return None if labels is None else Recording(path.stem, labels)


CREMAD = LabelledDataset(
    name="cremad",
    title="CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset",
    licence="ODbL 1.0",
    labels=LABELS,
    read=read,
    expected="actor_sentence_emotion_level, as 1001_IEO_ANG_HI.flv",
    broken=BROKEN,
)
