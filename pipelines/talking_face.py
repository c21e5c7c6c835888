"""The talking-face pipeline, as a list."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mien.pipelines.align.stage import Align
from mien.pipelines.annotators.annotator import Annotator
from mien.pipelines.annotators.stage import Annotate
from mien.pipelines.faces.stage import Faces
from mien.pipelines.fetch import FetchStage
from mien.pipelines.samples.stage import MakeSamples
from mien.pipelines.shards.write import WriteShards
from mien.pipelines.speech.split import Split
from mien.pipelines.stage import InOneWorker, Stage
from mien.pipelines.transcribe.stage import Transcribe


def talking_face(
    *,
    require: Collection[str],
    annotators: Sequence[Annotator],
    fetch: FetchStage,
    split: Split,
    faces: Faces,
    transcribe: Transcribe,
    align: Align,
    shards: WriteShards,
) -> list[Stage]:
    """The stages from a `Job` to a `Shard`, cheap and selective ones first.

    `require` is what a clip must have: ("speech", "face"), ("face",) for expressive faces whether or not
    anybody speaks, or ("speech",) for a speech corpus, for which no picture is decoded.
    """
    heavy = [annotator for annotator in annotators if annotator.heavy]
    light = [annotator for annotator in annotators if not annotator.heavy]
    stages: list[Stage] = [fetch, split]
    if "face" in require:
        stages.append(faces)
    stages.append(transcribe)
    if heavy:
        stages.append(Annotate(heavy))
    # These share one worker: copying items between workers would cost more than the work itself.
    stages.append(InOneWorker(Annotate(light), align, MakeSamples(), main=align))
    stages.append(shards)
    return stages
