"""The talking-face pipeline, as a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from mien.pipelines.align.stage import Align
from mien.pipelines.faces.stage import Faces
from mien.pipelines.fetch import FetchStage
from mien.pipelines.shards.write import WriteShards
from mien.pipelines.speech.split import Split
from mien.pipelines.stage import Stage
from mien.pipelines.transcribe.stage import Transcribe


def talking_face(
    *,
    require: Collection[str],
    fetch: FetchStage,
    split: Split,
    faces: Faces,
    transcribe: Transcribe,
    align: Align,
    shards: WriteShards,
) -> list[Stage]:
    """The stages from a `Job` to a `Shard`, cheap and selective ones first.

    `require` is what a clip must have: ("speech", "face"), ("face",) for expressive faces whether or not
    anybody speaks, or ("speech",) for a sound corpus, for which no picture is decoded.
    """
    stages: list[Stage] = [fetch, split]
    if "face" in require:
        # A pause that does not end a clip must not hide the face either.
        pad_seconds = max(faces.pad_seconds, align.max_pause_seconds / 2)
        stages.append(dataclasses.replace(faces, pad_seconds=pad_seconds))
    stages += [transcribe, align, shards]
    return stages
