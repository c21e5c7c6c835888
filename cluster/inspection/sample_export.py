"""Writes samples as files. Each file is written completely or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from mien.cluster.inspection.clip_view import ClipView, open_clip
from mien.cluster.inspection.subtitles import to_srt
from mien.cluster.inspection.video_export import write_video
from mien.cluster.report.contact_sheet import tile_frames
from mien.ingest.errors import DamagedSampleError, MissingMemberError
from mien.ingest.storage.error_mapping import translated
from mien.models.reader.data import RawSample
from mien.models.reader.shard_reader import ShardReader
from mien.pipelines.data import UInt8

FORMATS = ("wav", "mp4", "members")

_NOT_NAME = re.compile(r"[^A-Za-z0-9._=+@-]+")
_LONGEST, _LONGEST_EXTENSION = 150, 64
"""With the suffix that makes a stem unique, they fit into the 255 bytes of a file name."""


def export_all(sample: RawSample, folder: Path) -> list[Path]:
    """Writes everything that can be viewed or played: mp4, srt, wav, png, json.

    Raises DamagedSampleError (MissingMemberError if there is nothing to show) and StorageError.
    """
    clip, files = open_clip(sample), _Files(folder, sample.key)
    if clip.frames is not None:
        _write_video(files, clip)
    if clip.cues:
        files.write("srt", to_srt(clip.cues).encode())
    if clip.sound is not None:
        _write_wav(files, clip)
    if clip.frames is not None:
        files.write("png", _png(tile_frames(clip.frames)))
    for name, picture in clip.pictures.items():
        short = f"{_plain(name.rpartition('.')[0])}.png".lstrip(".")
        files.write(f"{_plain(name)}.png" if files.has(short) else short, _png(picture))
    if clip.meta is not None:
        files.write("json", f"{json.dumps(clip.meta, indent=2, ensure_ascii=False)}\n".encode())
    if not files.written:
        raise MissingMemberError(
            sample.key,
            f"it only has {', '.join(map(_plain, sample.members))}, which cannot be shown; "
            "use `mien shards export` to extract its members",
        )
    return files.written


def export(sample: RawSample, folder: Path, *, kind: str) -> list[Path]:
    """Writes one of FORMATS: wav and txt; mp4; or the unchanged members.

    Raises DamagedSampleError (MissingMemberError if it has no sound or no faces) and StorageError.
    """
    files = _Files(folder, sample.key)
    if kind == "members":
        for name, data in sample.members.items():
            files.write(_plain(name), bytes(data))
        return files.written
    clip = open_clip(sample)
    if kind == "mp4":
        if clip.frames is None:
            raise MissingMemberError(sample.key, "it has no faces to show; export it as wav or members")
        _write_video(files, clip)
        return files.written
    if clip.sound is None:
        raise MissingMemberError(sample.key, "it has no sound; export it as mp4 or members")
    _write_wav(files, clip)
    if clip.text:
        files.write("txt", clip.text.encode())
    return files.written


def export_samples(
    reader: ShardReader, folder: Path, *, kind: str, limit: int | None
) -> Iterator[tuple[str, list[Path] | DamagedSampleError]]:
    """Exports at most `limit` samples. Yields for each its key and the files written, or the error.

    `kind`: one of FORMATS. `reader` should not shuffle.

    Raises StorageError.
    """
    for sample in _each(reader, limit):
        if isinstance(sample, DamagedSampleError):
            yield sample.key, sample
            continue
        try:
            yield sample.key, export(sample, folder, kind=kind)
        except DamagedSampleError as error:
            yield sample.key, error


def _each(reader: ShardReader, limit: int | None) -> Iterator[RawSample | DamagedSampleError]:
    """Yields samples in order. A sample that cannot be read is yielded as its error."""
    position, stop = 0, len(reader) if limit is None else min(limit, len(reader))
    while position < stop:
        try:
            for sample in reader.samples(start=position, stop=stop):
                position += 1
                yield sample
        except DamagedSampleError as error:
            position += 1
            yield error


def file_stem(key: str) -> str:
    """`key` if it is a plain file name; otherwise a file name derived from it that is unique to it."""
    stem = _NOT_NAME.sub("_", key)[:_LONGEST].lstrip(".")
    if stem == key:
        return key
    return f"{stem}-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _plain(extension: str) -> str:
    return _NOT_NAME.sub("_", extension)[:_LONGEST_EXTENSION]


class _Files:
    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._stem = folder, file_stem(key)
        self.written: list[Path] = []

    def has(self, extension: str) -> bool:
        return self._path(extension) in self.written

    def write(self, extension: str, data: bytes) -> None:
        self.make(extension, lambda path: path.write_bytes(data))

    def make(self, extension: str, write: Callable[[Path], object]) -> None:
        path = self._path(extension)
        temporary = self._folder / f".{uuid.uuid4().hex}"
        with translated(f"writing {path}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                write(temporary)
                os.replace(temporary, path)  # noqa: PTH105
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()
        self.written.append(path)

    def _path(self, extension: str) -> Path:
        return self._folder / f"{self._stem}.{extension}"


def _write_video(files: _Files, clip: ClipView) -> None:
    frames = clip.frames
    if frames is not None:
        files.make(
            "mp4",
            lambda path: write_video(
                path,
                frames,
                frames_hz=clip.frames_hz,
                sound=clip.sound,
                sound_hz=clip.sound_hz,
                cues=clip.cues,
            ),
        )


def _write_wav(files: _Files, clip: ClipView) -> None:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, clip.sound, clip.sound_hz, "PCM_16", format="WAV")
    files.write("wav", out.getvalue())


def _png(picture: UInt8) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", picture[:, :, ::-1])[1])
