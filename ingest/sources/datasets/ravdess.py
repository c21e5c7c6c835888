"""RAVDESS: Ryerson Audio-Visual Database of Emotional Speech and Song (24 actors, North American English).

Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391; the naming is that of its page on Zenodo
(record 1188976): seven numbers, modality-channel-emotion-intensity-statement-repetition-actor, as in
`02-01-06-01-02-01-12.mp4`. The folder names (`Actor_12`, `Video_Speech_Actor_12`) add no information.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from mien.ingest.sources.datasets.labelled_dataset import LabelledDataset, Recording, decode_labels

_ACTORS = {f"{number:02d}": f"{number:02d}" for number in range(1, 25)}

LABELS: dict[str, dict[str, str]] = {
    "modality": {"01": "audio-video", "02": "video", "03": "audio"},
    "channel": {"01": "speech", "02": "song"},
    "emotion": {
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fearful",
        "07": "disgust",
        "08": "surprised",
    },
    "intensity": {"01": "normal", "02": "strong"},
    "statement": {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"},
    "repetition": {"01": "1", "02": "2"},
    "actor": _ACTORS,
    # Odd numbers are men, even ones women.
    "sex": {code: "male" if int(code) % 2 else "female" for code in _ACTORS},
}
_NAME = re.compile(r"-".join(rf"(?P<{name}>\d\d)" for name in list(LABELS)[:7]), re.ASCII)


def read(path: PurePosixPath) -> Recording | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    codes = match.groupdict()
    labels = decode_labels(LABELS, {**codes, "sex": codes["actor"]})
    # "There is no strong intensity for the neutral emotion."
    if labels is None or (labels["emotion"], labels["intensity"]) == ("neutral", "strong"):
        return None
    return Recording(path.stem, labels)


RAVDESS = LabelledDataset(
    name="ravdess",
    title="RAVDESS, Ryerson Audio-Visual Database of Emotional Speech and Song",
    licence="CC BY-NC-SA 4.0",
    labels=LABELS,
    read=read,
    expected="modality-channel-emotion-intensity-statement-repetition-actor, as 03-01-05-02-01-01-17.wav",
)
