"""CH-Unicamp: one actress, Brazilian Portuguese, the 22 emotions of the OCC model, and neutral.

Recorded at Unicamp for expressive talking heads (Costa & De Martino). No description of its naming is
published that we know of. What is read here is taken from public code that opens the corpus (fireis/wav2kp
and others), where files are called `Em1_Fala1_CarolinaHolly.mp4`: the number of the emotion, that of the
utterance, and the speaker. Which number stands for which emotion those sources do not say, so the number is
the label: who has the corpus' own list adds it as a table (`mien add table.csv`, with a column `emotion`).
Recordings that are named otherwise, the neutral ones perhaps among them, are refused by name.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from mien.ingest.sources.datasets.labelled_dataset import LabelledDataset, Recording, decode_labels

LABELS: dict[str, dict[str, str]] = {"emotion_number": {}, "utterance": {}, "speaker": {}}
_NAME = re.compile(
    r"Em(?P<emotion_number>\d{1,2})_Fala(?P<utterance>\d{1,2})_(?P<speaker>[A-Za-z]+)", re.ASCII
)


def read(path: PurePosixPath) -> Recording | None:
    match = _NAME.fullmatch(path.stem)
    labels = decode_labels(LABELS, match.groupdict()) if match else None
    return None if labels is None else Recording(path.stem, labels)


CH_UNICAMP = LabelledDataset(
    name="chunicamp",
    title="CH-Unicamp (layout as public code reads it)",
    licence="",
    labels=LABELS,
    read=read,
    expected="emotion, utterance and speaker, as Em1_Fala1_CarolinaHolly.mp4",
)
