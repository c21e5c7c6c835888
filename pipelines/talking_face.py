"""The talking-face pipeline, as a list."""

from __future__ import annotations

import dataclasses
from typing import Any

from mien.pipelines.align.stage import Align
from mien.pipelines.faces.stage import Faces
from mien.pipelines.shards.write import WriteShards
from mien.pipelines.speech.split import Split
from mien.pipelines.transcribe.stage import Transcribe


def talking_face(
    *,
    require: tuple[str, ...],
    fetch: Any,
    split: Split,
    faces: Faces,
    transcribe: Transcribe,
    align: Align,
    shards: WriteShards,
) -> list[Any]:
    """The stages from a `Job` to a `Shard`, cheap and selective ones first.

    `require` says what a clip must have: ("speech", "face"), ("face",) for expressive faces whether or not
    anybody speaks, or ("speech",) for a corpus of sound, for which no picture is ever decoded.
    What opens a video's file asks `fetch` for it first: another node may have fetched it.
    """
    only_speech = "speech" in require
    # A pause that does not end a clip must not hide the face either.
    pad_seconds = max(faces.pad_seconds, align.max_pause_seconds / 2)
    stages = [
        fetch,
        dataclasses.replace(split, require=require, local_media=fetch),
        dataclasses.replace(
            faces,
            look_at="speech" if only_speech else "all",
            pad_seconds=pad_seconds,
            local_media=fetch,
        ),
        dataclasses.replace(transcribe, require=require),
        dataclasses.replace(align, require=require),
        shards,
    ]
    return [stage for stage in stages if stage is not stages[2] or "face" in require]
