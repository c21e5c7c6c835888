"""CH-Unicamp: one actress, Brazilian Portuguese, the 22 emotions of the OCC model, and neutral.

Recorded at Unicamp for expressive talking heads (Costa & De Martino). We know of no published description of
its file names. This module follows public code that reads the dataset (fireis/wav2kp and others), where files
are called `Em1_Fala1_CarolinaHolly.mp4`: the number of the emotion, the number of the utterance, and the
speaker. Those sources do not say which number stands for which emotion, so the number is the label. Users who
have the dataset's own list can add it as a table (`mien add table.csv`, with a column `emotion`). Files with
other names, perhaps the neutral recordings, are refused.
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
