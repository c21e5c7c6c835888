"""`audio`: the clip's sound."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import UsageError
from mien.models.reader.data import Allocate, RawSample
from mien.models.reader.fields.field import Content, Field, content
from mien.models.reader.fields.window import Cut, Window
from mien.pipelines.data import ROW_SAMPLES, SOUND_HZ

_STREAMINFO_END = 42


@dataclass(frozen=True, slots=True)
class Sound:
    content: Content
    samples: int


def open_sound(sample: RawSample, member: str) -> Sound:
    """Reads FLAC's STREAMINFO (RFC 9639, section 8.2), which comes first. Decodes nothing.

    Raises DamagedSampleError, MissingMemberError, UsageError.
    """
    sound = content(sample, member)
    data = sound.data
    if len(data) < _STREAMINFO_END or bytes(data[:4]) != b"fLaC" or data[4] & 0x7F:
        raise sound.damaged(f"not FLAC: it begins with {bytes(data[:5]).hex() or 'nothing'}")
    facts = int.from_bytes(data[18:26], "big")
    hz, channels, samples = facts >> 44, (facts >> 41 & 7) + 1, facts & (1 << 36) - 1
    if hz != SOUND_HZ or channels != 1:
        raise UsageError(
            f"sample {sample.key}: {member} has {hz} Hz and {channels} channels, but mien reads only "
            f"{SOUND_HZ} Hz mono; convert the corpus"
        )
    if not samples:
        raise sound.damaged("its header does not give its length")
    return Sound(sound, samples)


def decode_sound(sound: Sound, out: npt.NDArray[Any], *, first: int) -> None:
    """Samples [first, first + len(out)) into `out`, float32 in [-1, 1) or int16.

    Raises DamagedSampleError.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(sound.content.data)) as file:
            if first:
                file.seek(first)
            got = len(file.read(dtype=out.dtype.name, out=out))
    except soundfile.LibsndfileError as error:
        raise sound.content.damaged(error) from error
    if got < len(out):
        raise sound.content.damaged(f"it ends at sample {first + got} of {sound.samples}")


class AudioBasedField(Field[Sound]):
    """Base of the fields that read the clip's FLAC: the sound itself, or features computed from it."""

    member: str

    def members(self, *, windowed: bool) -> frozenset[str]:
        del windowed
        return frozenset({self.member})

    def open(self, sample: RawSample, *, windowed: bool) -> Sound:
        del windowed
        return open_sound(sample, self.member)

    def rows(self, part: Sound) -> int | None:
        return -(-part.samples // ROW_SAMPLES)


@dataclass(frozen=True, slots=True)
class AudioField(AudioBasedField):
    """`audio` (B, N), 16 kHz mono, float32 in [-1, 1) or int16; `audio_length` (B,) int64 samples;
    `audio_mask` (B, N) bool, False in padding."""

    dtype: Literal["float32", "int16"] = "float32"
    member: str = "flac"

    @property
    def name(self) -> str:
        return "audio"

    def collate(
        self, parts: Sequence[Sound], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        spans = sample_spans(parts, cuts, window)
        length = window.samples if window else max(count for _, count in spans)
        out = allocate("audio", (len(parts), length), np.dtype(self.dtype))
        mask = allocate("audio_mask", (len(parts), length), np.dtype(np.bool_))
        lengths = allocate("audio_length", (len(parts),), np.dtype(np.int64))
        for number, (part, (first, count)) in enumerate(zip(parts, spans, strict=True)):
            decode_sound(part, out[number, :count], first=first)
            out[number, count:] = 0
            mask[number, :count] = True
            mask[number, count:] = False
            lengths[number] = count
        return {"audio": out, "audio_mask": mask, "audio_length": lengths}


def sample_spans(
    parts: Sequence[Sound], cuts: Sequence[Cut] | None, window: Window | None
) -> list[tuple[int, int]]:
    """(first, count) of the samples to read from each part."""
    if cuts is None or window is None:
        return [(0, part.samples) for part in parts]
    return [
        (cut.first_row * ROW_SAMPLES, min(window.samples, part.samples - cut.first_row * ROW_SAMPLES))
        for part, cut in zip(parts, cuts, strict=True)
    ]
