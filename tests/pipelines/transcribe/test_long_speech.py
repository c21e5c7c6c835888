"""Speech longer than Whisper's window loses no words at window borders."""

from __future__ import annotations

import difflib

import numpy as np
import pytest

from mien.ingest.media import Job, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.data import SOUND_HZ, Int16, Segment, Word
from mien.pipelines.decode.sound import SoundStream
from mien.pipelines.speech.vad import VoiceActivity, speech_spans
from mien.pipelines.stage import ClipSettings, StageContext
from mien.pipelines.transcribe.stage import Transcribe
from mien.pipelines.weights import locate
from tests.demo_media import demo_clip, needs_weights
from tests.pipelines.builders import media_file

REPEATS = 6


def transcribe(sound: Int16, stage: Transcribe) -> tuple[Word, ...]:
    end = len(sound) / SOUND_HZ
    speech = speech_spans(
        VoiceActivity(str(locate("silero_vad_v6"))).feed(sound, last=True),
        start=0.0,
        end=end,
        threshold=0.5,
        min_speech_seconds=0.1,
        min_silence_seconds=0.2,
        pad_seconds=0.16,
    )
    (result,) = stage(Segment(media=media_file(seconds=end), start=0.0, end=end, sound=sound, speech=speech))
    assert result.transcript is not None
    return result.transcript.words


@pytest.mark.slow
def test_repeated_speech_has_the_words_of_its_parts() -> None:
    needs_weights()
    path = demo_clip("talks.mp4")
    media = probe(str(path), job=Job(video=VideoRef(source="file", id="t", uri="t")), sha256="", bytes=0)
    once: Int16 = np.concatenate(list(SoundStream(media)))
    stage = Transcribe(language="en")
    stage.setup(StageContext(clip=ClipSettings(require=("speech",))))
    expected = [word.text.strip(".,?!").lower() for word in transcribe(once, stage)] * REPEATS
    words = transcribe(np.tile(once, REPEATS), stage)
    found = [word.text.strip(".,?!").lower() for word in words]
    same = sum(
        block.size
        for block in difflib.SequenceMatcher(a=expected, b=found, autojunk=False).get_matching_blocks()
    )
    assert len(expected) >= 100
    assert same / len(expected) > 0.85
    assert len(found) < 1.15 * len(expected)
    for number in range(REPEATS):
        span = (number * len(once) / SOUND_HZ, (number + 1) * len(once) / SOUND_HZ)
        here = sum(span[0] <= word.start < span[1] for word in words)
        assert here > 0.7 * len(expected) / REPEATS
