"""Sound is placed by its timestamps, at every rate and layout, with gaps, overlaps and jitter."""

from __future__ import annotations

import re
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.errors import CorruptMediaError, NoAudioStreamError, TruncatedMediaError
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.data import SOUND_HZ, Int16
from mien.pipelines.decode.sound import AudioTimeline, SoundStream
from tests.noise_films import write_noise

JOB = Job(video=VideoRef(source="folder", id="x", uri="x"))


def probed(path: Path) -> MediaFile:
    return probe(str(path), job=JOB, sha256="", bytes=0)


def decoded(path: Path, block_seconds: float = 0.7) -> Int16:
    media = probed(path)
    blocks = list(SoundStream(media, block_seconds=block_seconds))
    assert {len(block) for block in blocks[:-1]} <= {round(block_seconds * SOUND_HZ)}
    sound = np.concatenate(blocks)
    assert sound.dtype == np.int16
    assert len(sound) == round(media.duration_seconds * SOUND_HZ)
    return sound


RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)


@pytest.mark.parametrize(
    ("hz", "channels"), [*((hz, 2) for hz in RATES), *((44_100, count) for count in range(1, 9))]
)
def test_decodes_every_rate_and_channel_count(tmp_path: Path, hz: int, channels: int) -> None:
    path = tmp_path / "x.wav"
    tone = np.zeros(2 * hz)
    tone[hz:] = 12_000 * np.sin(2 * np.pi * 440 * np.arange(hz) / hz)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(hz)
        out.writeframes(np.repeat(tone.astype(np.int16)[:, None], channels, axis=1).tobytes())
    sound = decoded(path)
    assert abs(int(np.flatnonzero(np.abs(sound) > 1000)[0]) / SOUND_HZ - 1.0) < 0.001
    assert np.abs(sound[:15_900]).max() < 300
    assert 9_000 < np.abs(sound[17_000:]).max() < 14_000


def write_pcm(
    path: Path, starts: list[float], format: str = "matroska", hz: int = 44_100, step: int = 441
) -> None:
    """PCM of 440 Hz in packets of `step` samples that start at `starts`. The phase follows true time."""
    with av.open(str(path), "w", format=format) as output:
        stream: Any = output.add_stream("pcm_s16le", rate=hz, layout="mono")
        for count, start in enumerate(starts):
            at = count * step / hz + np.arange(step) / hz
            packet = av.Packet((12_000 * np.sin(2 * np.pi * 440 * at)).astype("<i2").tobytes())
            packet.stream, packet.time_base = stream, Fraction(1, 1_000_000)
            packet.pts = packet.dts = round(start * 1e6)
            packet.duration = round(step / hz * 1e6)
            output.mux(packet)


def test_gap_is_silent_and_later_sound_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    write_pcm(path, [n * 0.01 for n in range(100)] + [2.5 + n * 0.01 for n in range(100)])
    sound = np.abs(decoded(path).astype(int))
    assert abs(np.flatnonzero(sound[16_100:] > 500)[0] + 16_100 - 2.5 * SOUND_HZ) < 0.002 * SOUND_HZ
    assert sound[16_100:39_800].max() == 0


def test_lost_packet_does_not_shift_later_sound(tmp_path: Path) -> None:
    path = tmp_path / "lost.mkv"
    write_pcm(path, [n * 0.01 + (0.02 if n >= 50 else 0.0) for n in range(150)])
    quiet = np.flatnonzero(np.abs(decoded(path)[7_000:9_000].astype(int)) == 0)
    assert 280 <= len(quiet) <= 360  # 20 ms of silence at the position of the packet


def test_drops_overlapping_sound(tmp_path: Path) -> None:
    path = tmp_path / "overlap.mkv"
    write_pcm(path, [n * 0.1 for n in range(10)] + [0.95 + n * 0.1 for n in range(10)], step=4410)
    sound = decoded(path)
    assert len(sound) == round(1.95 * SOUND_HZ)
    assert np.abs(sound[:-400].reshape(-1, 400).astype(int)).max(axis=1).min() > 10_000


@pytest.mark.parametrize("jitter_ms", [0.5, 3.0, 12.0])
def test_jitter_makes_no_gaps(tmp_path: Path, jitter_ms: float) -> None:
    path = tmp_path / "jitter.mkv"
    rng = np.random.default_rng(2)
    shifts = rng.uniform(-jitter_ms, jitter_ms, 300) / 1000
    shifts[0] = 0.0
    starts = np.maximum.accumulate(np.arange(300) * 0.01 + shifts)
    write_pcm(path, list(starts))
    sound = decoded(path)[800:-800].astype(np.float64)
    at = (np.arange(len(sound)) + 800) / SOUND_HZ
    true = 12_000 * np.sin(2 * np.pi * 440 * at)
    if jitter_ms <= 3.0:
        assert np.abs(sound - true).max() < 600
    breaks = np.abs(np.diff(sound, 2)).max()
    assert breaks < 2_000 or jitter_ms > 3.0


def test_late_start_is_filled_with_silence(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    write_noise(path, frames=100, late=1.5)
    sound = np.abs(decoded(path).astype(int))
    assert sound[: int(1.45 * SOUND_HZ)].max() == 0
    assert sound[int(1.52 * SOUND_HZ) : 3 * SOUND_HZ].max() > 1000
    assert sound[int(3.6 * SOUND_HZ) :].max() == 0


def test_early_end_raises_truncated_error(tmp_path: Path) -> None:
    long, short = tmp_path / "long.mp4", tmp_path / "short.mp4"
    write_noise(long, seconds=6.0)
    write_noise(short, seconds=2.0)
    media = probed(long)
    long.write_bytes(short.read_bytes())
    with pytest.raises(TruncatedMediaError):
        list(SoundStream(media))


@pytest.mark.parametrize(
    ("codec", "format", "wrong"),
    [
        ("libmp3lame", "mov", "zeros"),
        ("libmp3lame", "avi", "zeros"),
        ("mp2", "avi", "zeros"),
        ("libmp3lame", "mov", "header"),
        ("aac", "mp4", "zeros"),
    ],
)
def test_damaged_packet_raises_corrupt_error(tmp_path: Path, codec: str, format: str, wrong: str) -> None:
    path = tmp_path / f"film.{format}"
    write_noise(path, format=format, video=None, audio=codec, hz=44_100, seconds=4.0)
    assert decoded(path).any()
    media = probed(path)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    damaged, data = packets[len(packets) // 2], bytearray(path.read_bytes())
    assert damaged.pos is not None and damaged.pts is not None and damaged.time_base is not None
    size = damaged.size if wrong == "zeros" else 4
    data[damaged.pos : damaged.pos + size] = bytes(size) if wrong == "zeros" else b"\x12\x34\x56\x78"
    path.write_bytes(data)
    with pytest.raises(CorruptMediaError) as raised:
        list(SoundStream(media))
    reached = re.search(r"after ([\d.]+) s", str(raised.value))
    assert reached is not None
    assert abs(float(reached[1]) - damaged.pts * damaged.time_base) < 0.1


def test_rejects_file_without_audio(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    write_noise(path, audio=None)
    with pytest.raises(NoAudioStreamError):
        SoundStream(probed(path))


@given(
    pieces=st.lists(st.tuples(st.integers(-40, 160), st.integers(0, 50)), max_size=8),
    total=st.integers(0, 150),
    block=st.integers(1, 60),
)
def test_timeline_uses_the_samples_put_first(pieces: list[tuple[int, int]], total: int, block: int) -> None:
    timeline, blocks, expected, filled = (
        AudioTimeline(total_samples=total, block_samples=block),
        [],
        np.zeros(total),
        0,
    )
    for number, (position, length) in enumerate(pieces, start=1):
        blocks += list(timeline.put(position, np.full(length, number, np.int16)))
        first, last = max(position, filled), min(position + length, total)
        if last > first:
            expected[first:last] = number
            filled = last
    blocks += list(timeline.finish())
    actual = np.concatenate(blocks) if blocks else np.zeros(0)
    assert np.array_equal(actual, expected)
    assert all(len(one) == block for one in blocks[:-1])
