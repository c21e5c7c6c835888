"""A local run whose stages are clocked, and from which is kept what each kernel was fed."""

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
from mien.pipelines.faces.rows import merge_spans

KEEP_EVERY = 8
WORTH_A_SEEK_SECONDS = 2.0


def cpu_seconds() -> float:
    """User and system time of this process, all its threads, and its children that ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


@dataclass(slots=True)
class Fed:
    """What a run fed to its kernels. Pictures and crops are kept one in KEEP_EVERY, and all are counted."""

    pad_seconds: float = 0.0
    """Of the faces stage: how far about the speech pictures are decoded."""
    pictures: list[Any] = field(default_factory=list)
    picture_count: int = 0
    embeddings: list[int] = field(default_factory=list)
    """Size of each batch."""
    crops: list[bytes] = field(default_factory=list)
    crop_count: int = 0
    spans: list[Span] = field(default_factory=list)
    """Of pictures that were decoded; gaps that are not worth a seek are filled."""
    heard: list[tuple[Any, list[dict[str, float]], str, bool]] = field(default_factory=list)
    """Sound of a segment (float32), the windows that Whisper heard of it, the language that it was told, and
    whether that had to be found out: a segment may be heard again where words are missing."""
    flacs: list[bytes] = field(default_factory=list)
    speech_seconds: float = 0.0
    face_seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    setup_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    total_seconds: float = 0.0


def run_clocked(store: Path, film: Path, flags: tuple[str, ...] = ()) -> Fed:
    """`mien run --local` over `film`; the stages' methods are wrapped for the time of it."""
    from faster_whisper import BatchedInferencePipeline

    from mien.pipelines.align.stage import Align
    from mien.pipelines.faces.detect import Scrfd
    from mien.pipelines.faces.identity import Identity
    from mien.pipelines.faces.stage import Faces
    from mien.pipelines.fetch import FetchStage
    from mien.pipelines.shards.write import WriteShards
    from mien.pipelines.speech.split import Split
    from mien.pipelines.transcribe.stage import Transcribe
    from tests.runs import run_over

    fed = Fed()
    restore: list[Callable[[], None]] = []

    def put(owner: type, name: str, method: Any) -> None:
        before = getattr(owner, name)
        restore.append(lambda: setattr(owner, name, before))
        setattr(owner, name, method)

    for stage in (FetchStage, Split, Faces, Transcribe, Align, WriteShards):
        name = stage.name
        put(
            stage, "__call__", _clocked(stage.__call__, fed.stage_seconds, name, lambda item: _saw(fed, item))
        )
        put(stage, "setup", _clocked(stage.setup, fed.setup_seconds, name, None))
    put(WriteShards, "flush", _clocked(WriteShards.flush, fed.stage_seconds, "shards", None))

    follow = Faces.__call__
    find, features, hear = Scrfd.find, Identity.features, BatchedInferencePipeline.transcribe

    def finding(self: Any, picture: Any) -> Any:
        if fed.picture_count % KEEP_EVERY == 0:
            fed.pictures.append(picture)
        fed.picture_count += 1
        return find(self, picture)

    def following(self: Any, segment: Segment) -> Any:
        fed.pad_seconds = self.pad_seconds
        return follow(self, segment)

    def embedding(self: Any, jpegs: Any) -> Any:
        fed.embeddings.append(len(jpegs))
        return features(self, jpegs)

    def hearing(self: Any, sound: Any, **options: Any) -> Any:
        again = bool(fed.heard) and fed.heard[-1][0] is sound
        fed.heard.append((sound, options["clip_timestamps"], options["language"], not again))
        return hear(self, sound, **options)

    put(Faces, "__call__", following)
    put(Scrfd, "find", finding)
    put(Identity, "features", embedding)
    put(BatchedInferencePipeline, "transcribe", hearing)
    try:
        before = cpu_seconds()
        run_over(store, film, flags=flags)
        fed.total_seconds = cpu_seconds() - before
    finally:
        for undo in reversed(restore):
            undo()
    return fed


def _clocked(method: Any, clock: dict[str, float], name: str, saw: Callable[[Any], None] | None) -> Any:
    def outputs(made: Any) -> Iterator[Any]:
        iterator = iter(made)
        while True:
            began = cpu_seconds()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                clock[name] += cpu_seconds() - began
            if saw is not None:
                saw(item)
            yield item

    def call(self: Any, *arguments: Any) -> Any:
        began = cpu_seconds()
        made = method(self, *arguments)
        clock[name] += cpu_seconds() - began
        return None if made is None else outputs(made)

    return call


def _saw(fed: Fed, item: Any) -> None:
    """Notes what leaves a stage; a segment passes here once after each of the stages that it goes through."""
    if isinstance(item, Segment) and item.tracks is not None and item.transcript is None:
        if not any(use.name.startswith("whisper") for use in item.models):
            _saw_faces(fed, item)
    elif hasattr(item, "samples"):
        fed.flacs += [sample.members["flac"] for sample in item.samples if "flac" in sample.members]


def _saw_faces(fed: Fed, segment: Segment) -> None:
    spans = merge_spans(segment.speech, fed.pad_seconds, (segment.start, segment.end))
    for start, end in spans:
        if fed.spans and start - fed.spans[-1][1] < WORTH_A_SEEK_SECONDS:
            fed.spans[-1] = (fed.spans[-1][0], end)
        else:
            fed.spans.append((start, end))
    for crop in _made(segment.tracks or ()):
        if fed.crop_count % KEEP_EVERY == 0:
            fed.crops.append(crop)
        fed.crop_count += 1
    fed.speech_seconds += sum(b - a for a, b in segment.speech)
    rows = [track.first_row + np.flatnonzero(track.visible) for track in segment.tracks or ()]
    fed.face_seconds += np.unique(np.concatenate([[], *rows])).size / 25


def _made(tracks: tuple[FaceTrack, ...]) -> Iterator[bytes]:
    """Each crop once, also where a frame stands for several rows."""
    for track in tracks:
        seen = -1
        for crop in track.crops:
            if crop and id(crop) != seen:
                seen = id(crop)
                yield crop


def sounds(fed: Fed) -> list[Any]:
    """int16 sound of each sample."""
    import soundfile

    return [soundfile.read(io.BytesIO(flac), dtype="int16")[0] for flac in fed.flacs]
