"""The stage `annotate`: runs annotators over segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from mien.pipelines.annotators.annotator import Annotator
from mien.pipelines.data import Segment
from mien.pipelines.stage import Resources, Stage, StageContext


class Annotate(Stage):
    """Segment to Segment with the tracks of `annotators`."""

    name = "annotate"
    # The fingerprint asks each annotator.
    affects_samples = False

    def __init__(self, annotators: Sequence[Annotator]) -> None:
        self.annotators = tuple(annotators)
        needs = [annotator.resources for annotator in annotators] or [Resources()]
        self.resources = Resources(
            cpus=max(need.cpus for need in needs),
            gpus=max(need.gpus for need in needs),
            memory_mb=max(need.memory_mb for need in needs),
        )

    @property
    def uses_gpu(self) -> bool:
        return any(annotator.uses_gpu for annotator in self.annotators)

    def weights(self) -> tuple[str, ...]:
        return tuple(name for annotator in self.annotators for name in annotator.weights())

    def setup(self, context: StageContext) -> None:
        for annotator in self.annotators:
            annotator.setup(context)

    def __call__(self, segment: Segment) -> Iterator[Segment]:
        for annotator in self.annotators:
            segment = annotator(segment)
        yield segment

    def close(self) -> None:
        with ExitStack() as stack:  # all are closed, even if one raises
            for annotator in self.annotators:
                stack.callback(annotator.close)
