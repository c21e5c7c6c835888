"""MEAD: Multi-view Emotional Audio-visual Dataset (60 actors, 8 emotions, 7 views, English).

Wang et al., ECCV 2020. The layout is that of its archives, as described in papers that use it:
`M003/video/front/angry/level_1/001.mp4`, and for sound alone `M003/audio/angry/level_1/001.m4a`. The file's
number identifies the sentence, in a list that the authors distribute and that is not read here.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from mien.ingest.sources.datasets.labelled_dataset import LabelledDataset, Recording, decode_labels

LABELS: dict[str, dict[str, str]] = {
    "actor": {},
    "sex": {"M": "male", "W": "female"},
    "view": {name: name for name in ("front", "left_30", "left_60", "right_30", "right_60", "top", "down")},
    "emotion": {
        "angry": "angry",
        "contempt": "contempt",
        "disgusted": "disgust",
        "fear": "fearful",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "surprised": "surprised",
    },
    "intensity": {"1": "1", "2": "2", "3": "3"},
    "statement": {},
}
_PLACE = re.compile(
    r"(?P<actor>(?P<sex>[MW])\d{3})/(?:video/(?P<view>\w+)|audio)/(?P<emotion>\w+)"
    r"/level_(?P<intensity>\d)/(?P<statement>\d{3})",
    re.ASCII,
)


def read(path: PurePosixPath) -> Recording | None:
    for depth in (6, 5):
        match = _PLACE.fullmatch("/".join(path.with_suffix("").parts[-depth:]))
        if match is not None:
            labels = decode_labels(LABELS, match.groupdict())
            if labels is None or (labels["emotion"] == "neutral" and labels["intensity"] != "1"):
                return None
            codes = match.groupdict()
            kind = codes["view"] or "audio"
            number = f"{codes['emotion']}_{codes['intensity']}_{codes['statement']}"
            return Recording(f"{codes['actor']}_{kind}_{number}", labels)
    return None


MEAD = LabelledDataset(
    name="mead",
    title="MEAD, Multi-view Emotional Audio-visual Dataset",
    licence="",
    labels=LABELS,
    read=read,
    expected="actor/video/view/emotion/level_N/number, as M003/video/front/angry/level_1/001.mp4",
)
