"""The pipeline as a list of stages."""

from __future__ import annotations

import pytest

from mien.pipelines.align.stage import Align
from mien.pipelines.faces.stage import Faces
from mien.pipelines.fetch import FetchStage
from mien.pipelines.shards.write import WriteShards
from mien.pipelines.speech.split import Split
from mien.pipelines.stage import Stage
from mien.pipelines.talking_face import talking_face
from mien.pipelines.transcribe.stage import Transcribe


@pytest.mark.parametrize(
    ("require", "names"),
    [
        (("speech", "face"), ["fetch", "split", "faces", "transcribe", "align", "shards"]),
        (("face",), ["fetch", "split", "faces", "transcribe", "align", "shards"]),
        (("speech",), ["fetch", "split", "transcribe", "align", "shards"]),
    ],
)
def test_requirements_determine_the_stages(require: tuple[str, ...], names: list[str]) -> None:
    stages = talking_face(
        require=require,
        annotators=(),
        fetch=FetchStage(),
        split=Split(),
        faces=Faces(pad_seconds=0.1),
        transcribe=Transcribe(),
        align=Align(max_pause_seconds=3.0),
        shards=WriteShards(),
    )
    assert [stage.name for stage in stages] == names


@pytest.mark.parametrize("stage", [Split(), Faces(), Transcribe()], ids=lambda stage: str(stage.name))
def test_close_is_safe_without_setup(stage: Stage) -> None:
    stage.close()
    stage.close()
