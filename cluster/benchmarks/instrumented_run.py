"""Runs the pipeline locally, measures the CPU time of each stage, and records the inputs of each kernel."""

from __future__ import annotations

import io
import resource
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mien.pipelines.data import FaceTrack, Segment, Span
from mien.pipelines.faces.grid_frames import merge_spans

KEEP_EVERY = 8
MIN_SEEK_SECONDS = 2.0


def cpu_seconds() -> float:
    """User and system time of this process, all its threads, and its terminated children."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


@dataclass(slots=True)
class KernelInputs:
    """The inputs of the kernels in a run. One in KEEP_EVERY pictures and crops is stored; all are counted."""

    pad_seconds: float = 0.0
    """Of the faces stage: how far before and after speech pictures are decoded."""
    pictures: list[Any] = field(default_factory=list)
    picture_count: int = 0
    embeddings: list[int] = field(default_factory=list)
    """The size of each batch."""
    crops: list[bytes] = field(default_factory=list)
    crop_count: int = 0
    spans: list[Span] = field(default_factory=list)
    """Spans whose pictures were decoded. Gaps shorter than MIN_SEEK_SECONDS are filled."""
    transcribed: list[tuple[Any, list[dict[str, float]], str, bool]] = field(default_factory=list)
    """For each call of Whisper: the sound of the segment (float32), the windows, the language, and whether
    the language had to be detected. A segment is transcribed a second time if words are missing."""
    flacs: list[bytes] = field(default_factory=list)
    speech_seconds: float = 0.0
    face_seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    setup_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    total_seconds: float = 0.0


def run_instrumented(store: Path, film: Path, flags: tuple[str, ...] = ()) -> KernelInputs:
    """Runs `mien run --local` over `film` with wrapped stage methods."""
    from faster_whisper import BatchedInferencePipeline

    from mien.cluster.benchmarks.recorded_run import run_pipeline
    from mien.pipelines.align.stage import Align
    from mien.pipelines.annotators.stage import Annotate
    from mien.pipelines.faces.detect import Scrfd
    from mien.pipelines.faces.embedder import FaceEmbedder
    from mien.pipelines.faces.stage import Faces
    from mien.pipelines.fetch import FetchStage
    from mien.pipelines.samples.stage import MakeSamples
    from mien.pipelines.shards.write import WriteShards
    from mien.pipelines.speech.split import Split
    from mien.pipelines.transcribe.stage import Transcribe

    inputs = KernelInputs()
    restore: list[Callable[[], None]] = []

    def replace(owner: type, name: str, method: Any) -> None:
        before = getattr(owner, name)
        restore.append(lambda: setattr(owner, name, before))
        setattr(owner, name, method)

    for stage in (FetchStage, Split, Faces, Transcribe, Annotate, Align, MakeSamples, WriteShards):
        name = stage.name
        replace(
            stage,
            "__call__",
            _timed(stage.__call__, inputs.stage_seconds, name, lambda item: _record(inputs, item)),
        )
        replace(stage, "setup", _timed(stage.setup, inputs.setup_seconds, name, None))
    replace(WriteShards, "flush", _timed(WriteShards.flush, inputs.stage_seconds, "shards", None))

    track = Faces.__call__
    find, features, transcribe = Scrfd.find, FaceEmbedder.embed, BatchedInferencePipeline.transcribe

    def recording_find(self: Any, picture: Any) -> Any:
        if inputs.picture_count % KEEP_EVERY == 0:
            inputs.pictures.append(picture)
        inputs.picture_count += 1
        return find(self, picture)

    def recording_track(self: Any, segment: Segment) -> Any:
        inputs.pad_seconds = self._pad_seconds
        return track(self, segment)

    def recording_features(self: Any, jpegs: Any) -> Any:
        inputs.embeddings.append(len(jpegs))
        return features(self, jpegs)

    def recording_transcribe(self: Any, sound: Any, **options: Any) -> Any:
        repeated = bool(inputs.transcribed) and inputs.transcribed[-1][0] is sound
        inputs.transcribed.append((sound, options["clip_timestamps"], options["language"], not repeated))
        return transcribe(self, sound, **options)

    replace(Faces, "__call__", recording_track)
    replace(Scrfd, "find", recording_find)
    replace(FaceEmbedder, "embed", recording_features)
    replace(BatchedInferencePipeline, "transcribe", recording_transcribe)
    try:
        before = cpu_seconds()
        run_pipeline(store, film, flags=flags, local=True)
        inputs.total_seconds = cpu_seconds() - before
    finally:
        for restore_method in reversed(restore):
            restore_method()
    return inputs


def _timed(method: Any, clock: dict[str, float], name: str, record: Callable[[Any], None] | None) -> Any:
    def outputs(results: Any) -> Iterator[Any]:
        iterator = iter(results)
        while True:
            began = cpu_seconds()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                clock[name] += cpu_seconds() - began
            if record is not None:
                record(item)
            yield item

    def call(self: Any, *arguments: Any) -> Any:
        began = cpu_seconds()
        results = method(self, *arguments)
        clock[name] += cpu_seconds() - began
        return None if results is None else outputs(results)

    return call


def _record(inputs: KernelInputs, item: Any) -> None:
    """Records the output of a stage. A segment is passed here after each stage that it goes through."""
    if isinstance(item, Segment) and item.tracks is not None and item.transcript is None:
        if not any(use.name.startswith("whisper") for use in item.models):
            _record_faces(inputs, item)
    elif hasattr(item, "samples"):
        inputs.flacs += [sample.members["flac"] for sample in item.samples if "flac" in sample.members]


def _record_faces(inputs: KernelInputs, segment: Segment) -> None:
    spans = merge_spans(segment.speech, inputs.pad_seconds, (segment.start, segment.end))
    for start, end in spans:
        if inputs.spans and start - inputs.spans[-1][1] < MIN_SEEK_SECONDS:
            inputs.spans[-1] = (inputs.spans[-1][0], end)
        else:
            inputs.spans.append((start, end))
    for crop in _distinct_crops(segment.tracks or ()):
        if inputs.crop_count % KEEP_EVERY == 0:
            inputs.crops.append(crop)
        inputs.crop_count += 1
    inputs.speech_seconds += sum(b - a for a, b in segment.speech)
    rows = [track.first_row + np.flatnonzero(track.visible) for track in segment.tracks or ()]
    inputs.face_seconds += np.unique(np.concatenate([[], *rows])).size / 25


def _distinct_crops(tracks: tuple[FaceTrack, ...]) -> Iterator[bytes]:
    """Yields each crop once, even if one frame is used for several rows."""
    for track in tracks:
        seen = -1
        for crop in track.crops:
            if crop and id(crop) != seen:
                seen = id(crop)
                yield crop


def sounds(inputs: KernelInputs) -> list[Any]:
    """The int16 sound of each sample."""
    import soundfile

    return [soundfile.read(io.BytesIO(flac), dtype="int16")[0] for flac in inputs.flacs]
