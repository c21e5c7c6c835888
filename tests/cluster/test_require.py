"""`clip.require`: faces only, speech only, and sound without video."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.cluster.config import fingerprint, weights_in_use
from mien.cluster.runner.catalog_additions import add
from mien.ingest.catalog import Catalog, VideoHistory
from tests.damaged_films import corrupt_stream, extract_stream, transcode_sound
from tests.demo_media import demo_clip, needs_weights
from tests.mien_command import add_and_run, settings_in
from tests.webdataset_samples import ReadSample, read_shards

FACES = 'clip.require=["face"]'
SPEECH = 'clip.require=["speech"]'
BOTH = {"json", "flac", "faces.jpg", "landmarks.npy", "speaking.npy", "times.npy"}


def ran(store: Path, *films: Path, flag: str) -> tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]]:
    """The history and the samples of each film, by name."""
    add_and_run(store, *films, flags=(flag,))
    with Catalog.open(f"sqlite:///{store}/catalog.sqlite") as catalog:
        found = {film.name: catalog.explain(str(film)) for film in films if film.is_file()}
        for folder in films:
            if folder.is_dir():
                found |= {film.name: catalog.explain(str(film)) for film in folder.iterdir()}
    histories = {name: history for name, history in found.items() if history is not None}
    samples: dict[str, list[ReadSample]] = {name: [] for name in histories}
    for read in read_shards(store / "shards"):
        samples[Path(read.meta["video"]["url"]).name].append(read)
    return histories, samples


def fates(history: VideoHistory) -> dict[str, float]:
    (segment,) = history.segments
    return segment.seconds_by_fate


@pytest.fixture(scope="module")
def faces(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]]:
    """An expressive face with silent sound, a talk without sound, and sound without a face."""
    needs_weights()
    folder = tmp_path_factory.mktemp("faces")
    mute = extract_stream("video", demo_clip("talks.mp4"), folder / "mute.mp4")
    sound = transcode_sound(demo_clip("talks.mp4"), folder / "sound.wav", "pcm_s16le")
    return ran(folder / "store", demo_clip("silent.mp4"), mute, sound, flag=FACES)


@pytest.mark.slow
def test_silent_expressive_face_is_kept(
    faces: tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]],
) -> None:
    histories, samples = faces
    assert fates(histories["silent.mp4"])["kept"] > 19
    for read in samples["silent.mp4"]:
        assert read.members == BOTH
        assert read.sound is not None and read.frames is not None
        assert len(read.sound) == 640 * len(read.frames)
        assert (read.meta["words"], read.meta["language"]) == ([], None)
        assert [model["name"] for model in read.meta["provenance"]["models"]] == [
            "silero_vad_v6", "scrfd_500m", "arcface_w600k_mbf",
        ]  # fmt: skip


@pytest.mark.slow
def test_silent_film_gives_samples_without_flac(
    faces: tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]],
) -> None:
    histories, samples = faces
    assert fates(histories["mute.mp4"])["kept"] > 9
    for read in samples["mute.mp4"]:
        assert read.members == BOTH - {"flac"}
        assert read.frames is not None and len(read.frames) == read.meta["rows"]


@pytest.mark.slow
def test_sound_only_gives_no_faces(
    faces: tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]],
) -> None:
    histories, samples = faces
    assert set(fates(histories["sound.wav"])) == {"no_video"}
    assert samples["sound.wav"] == []


@pytest.fixture(scope="module")
def speech(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]]:
    """A folder with one talk: as a film, with damaged frames, and as sound only in two formats."""
    needs_weights()
    folder = tmp_path_factory.mktemp("speech")
    films = folder / "films"
    films.mkdir()
    talks = demo_clip("talks.mp4")
    shutil.copy(talks, films / "film.mp4")
    corrupt_stream(talks, films / "torn.mp4", "video")
    transcode_sound(talks, films / "sound.wav", "pcm_s16le")
    transcode_sound(talks, films / "sound.mp3", "libmp3lame")
    (films / "notes.txt").write_text("not media")
    return ran(folder / "store", films, flag=SPEECH)


@pytest.mark.slow
def test_sound_dataset(speech: tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]]) -> None:
    histories, samples = speech
    assert set(histories) == {"film.mp4", "torn.mp4", "sound.wav", "sound.mp3"}
    for name, history in histories.items():
        assert history.state == "done"
        assert not {"no_face", "not_speaking", "no_video", "failed"} & set(fates(history))
        assert "so nervous" in " ".join(word["text"] for read in samples[name] for word in read.meta["words"])
        for read in samples[name]:
            assert read.members == {"json", "flac", "txt", "times.npy"}
            assert read.sound is not None and len(read.sound) == 640 * read.meta["rows"] == 640 * len(
                read.times
            )
            assert read.meta["face"] is None
            models = [model["name"] for model in read.meta["provenance"]["models"]]
            assert models == ["silero_vad_v6", "whisper-base"]


@pytest.mark.slow
def test_speech_only_decodes_no_frames(
    speech: tuple[dict[str, VideoHistory], dict[str, list[ReadSample]]],
) -> None:
    _, samples = speech
    assert len(samples["film.mp4"]) == len(samples["torn.mp4"]) > 0
    for whole, torn in zip(samples["film.mp4"], samples["torn.mp4"], strict=True):
        assert whole.sound is not None and torn.sound is not None
        assert np.array_equal(whole.sound, torn.sound)
        assert whole.meta["words"] == torn.meta["words"]


def test_folder_sounds_need_speech_only(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("film.mp4", "a.wav", "b.FLAC", "c.mp3", "d.opus", "notes.txt"):
        (films / name).touch()
    taken: dict[str, tuple[int, dict[str, int]]] = {}
    for flag in (SPEECH, FACES, 'clip.require=["speech","face"]'):
        store = tmp_path / str(len(taken))
        result, skipped_items = add(settings_in(store, flag), [str(films)])
        taken[flag] = (len(result.new), dict(skipped_items.not_media))
        # A file that is named explicitly is always added.
        assert len(add(settings_in(store, flag), [str(films / "a.wav")])[0].known) == (flag == SPEECH)
    assert taken.pop(SPEECH) == (5, {".txt": 1})
    skipped = {".wav": 1, ".flac": 1, ".mp3": 1, ".opus": 1, ".txt": 1}
    assert list(taken.values()) == [(1, skipped), (1, skipped)]


def test_the_fingerprint_knows_what_is_used(tmp_path: Path) -> None:
    heard = {"silero_vad_v6", "whisper-base"}
    seen = {"scrfd_500m", "arcface_w600k_mbf"}
    assert set(weights_in_use(settings_in(tmp_path, SPEECH))) == heard
    assert set(weights_in_use(settings_in(tmp_path, FACES))) == heard | seen
    # Words are stored with faces, so the transcription settings matter there too.
    changed = "transcribe.beam_size=1"
    assert fingerprint(settings_in(tmp_path, FACES)) != fingerprint(settings_in(tmp_path, FACES, changed))
