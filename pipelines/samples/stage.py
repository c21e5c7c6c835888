"""The stage `samples`: encodes the clips of a segment. It shares the worker of `align`."""

from __future__ import annotations

from collections.abc import Iterator

from mien.pipelines.data import AlignedSegment, SegmentDone
from mien.pipelines.samples.sample import make_sample
from mien.pipelines.stage import Stage, StageContext


class MakeSamples(Stage):
    """AlignedSegment to SegmentDone with its samples."""

    name = "samples"

    def setup(self, context: StageContext) -> None:
        import soundfile  # noqa: F401 (once per worker, not in the first call)

        self._annotators = context.annotators
        self._fingerprint = context.fingerprint

    def __call__(self, aligned: AlignedSegment) -> Iterator[SegmentDone]:
        segment = aligned.segment
        samples = tuple(
            make_sample(clip, self._annotators, fingerprint=self._fingerprint) for clip in aligned.clips
        )
        yield SegmentDone(
            video_key=segment.media.key,
            start_ms=segment.start_ms,
            end_ms=round(segment.end * 1000),
            seconds_by_fate=aligned.seconds_by_fate,
            samples=samples,
            sample_count=len(samples),
        )
