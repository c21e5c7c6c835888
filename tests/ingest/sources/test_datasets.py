"""Labels come from documented file names; files with other names are refused."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from mien.ingest.errors import MissingFileError, UnknownNameError, UsageError
from mien.ingest.media import VideoRef
from mien.ingest.sources import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, SOURCES, Skipped, expand
from mien.ingest.sources.datasets import DATASETS, LabelledDataset
from mien.ingest.sources.datasets.cremad import BROKEN

BOTH = MEDIA_EXTENSIONS | SOUND_EXTENSIONS
EXAMPLES = {
    "ravdess": ("Video_Speech_Actor_12/01-01-06-02-02-01-12.mp4", "Actor_17/03-02-02-01-01-02-17.wav"),
    "cremad": ("VideoFlash/1001_IEO_ANG_HI.flv", "AudioWAV/1091_WSI_NEU_XX.wav"),
    "mead": ("M003/video/front/angry/level_1/001.mp4", "W009/audio/surprised/level_3/030.m4a"),
    "chunicamp": ("Em1_Fala1_CarolinaHolly.mp4", "Em22_Fala12_CarolinaHolly.mp4"),
}
STRANGERS = {
    "ravdess": (
        "04-01-06-02-02-01-12.mp4",  # no such modality
        "03-01-09-01-01-01-01.wav",  # no such emotion
        "03-01-01-02-01-01-01.wav",  # neutral is never strong
        "03-01-03-01-01-01-25.wav",  # no such actor
        "03-01-03-01-01-01.wav",
        "03-01-03-01-01-01-01 copy.wav",
        "03-01-0٣-01-01-01-01.wav",  # a digit that is not ASCII
    ),
    "cremad": ("1092_IEO_ANG_HI.flv", "1001_XYZ_ANG_HI.flv", "1001_IEO_JOY_HI.flv", "1001_ieo_ang_hi.flv"),
    "mead": (
        "M003/video/behind/angry/level_1/001.mp4",
        "M003/video/front/bored/level_1/001.mp4",
        "M003/video/front/neutral/level_2/001.mp4",
        "M003/video/front/angry/level_4/001.mp4",
        "X003/video/front/angry/level_1/001.mp4",
        "001.mp4",
    ),
    "chunicamp": ("Fala1_CarolinaHolly.mp4", "Em1_CarolinaHolly.mp4", "Em1_Fala1.mp4"),
}


def laid_out(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def refs(dataset: str, folder: Path, skipped: Skipped | None = None) -> list[VideoRef]:
    return list(expand(f"{dataset}:{folder}", skipped=skipped, extensions=BOTH))


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
class TestEveryDataset:
    def test_name_matches_registry_key(self, dataset: LabelledDataset) -> None:
        assert DATASETS[dataset.name] is dataset
        assert dataset.name in SOURCES
        assert re.fullmatch(r"[a-z0-9]+", dataset.name)

    def test_example_in_expected_is_read(self, dataset: LabelledDataset) -> None:
        assert dataset.read(PurePosixPath("/data") / dataset.expected.rpartition(" as ")[2]) is not None

    def test_every_label_is_documented(self, dataset: LabelledDataset, tmp_path: Path) -> None:
        found = refs(dataset.name, laid_out(tmp_path, *EXAMPLES[dataset.name]))
        assert len(found) == len(EXAMPLES[dataset.name])
        for ref in found:
            assert ref.source == dataset.name
            assert re.fullmatch(r"[A-Za-z0-9_-]+", ref.id)
            assert ref.query == f"{dataset.name}:{tmp_path}"
            assert ref.labels
            for name, value in ref.labels.items():
                values = dataset.labels[name].values()
                assert value and (not values or value in values)

    def test_ids_do_not_depend_on_where_the_dataset_is(
        self, dataset: LabelledDataset, tmp_path: Path
    ) -> None:
        found = [
            [ref.key for ref in refs(dataset.name, laid_out(tmp_path / place, *EXAMPLES[dataset.name]))]
            for place in ("here", "there/deeper")
        ]
        assert found[0] == found[1]

    def test_unknown_names_are_refused(self, dataset: LabelledDataset, tmp_path: Path) -> None:
        strangers = STRANGERS[dataset.name]
        laid_out(tmp_path, *EXAMPLES[dataset.name], *strangers, "notes.txt")
        skipped = Skipped()
        assert len(refs(dataset.name, tmp_path, skipped)) == len(EXAMPLES[dataset.name])
        assert len(skipped.errors) == len(strangers)
        reported = "\n".join(str(error) for error in skipped.errors)
        assert all(isinstance(error, UnknownNameError) and "\n" not in str(error) for error in skipped.errors)
        assert all(name in reported for name in strangers)
        assert skipped.not_media == {".txt": 1}


def test_ravdess_labels_come_from_seven_numbers(tmp_path: Path) -> None:
    (ref,) = refs("ravdess", laid_out(tmp_path, "02-01-06-01-02-01-12.mp4"))
    assert ref.key == "ravdess-02-01-06-01-02-01-12"
    assert ref.licence == "CC BY-NC-SA 4.0"
    assert ref.labels == {
        "modality": "video",
        "channel": "speech",
        "emotion": "fearful",
        "intensity": "normal",
        "statement": "Dogs are sitting by the door",
        "repetition": "1",
        "actor": "12",
        "sex": "female",
    }


def test_crema_d_emotion_is_the_requested_one(tmp_path: Path) -> None:
    (ref,) = refs("cremad", laid_out(tmp_path, "1040_ITH_SAD_X.wav"))
    assert ref.labels == {
        "actor": "1040",
        "statement": "I think I have a doctor's appointment",
        "emotion": "sad",
        "intensity": "unspecified",
    }


def test_broken_recordings_are_left_out_and_counted(tmp_path: Path) -> None:
    laid_out(tmp_path, *(f"AudioWAV/{name}.wav" for name in (*BROKEN, "1064_IEO_DIS_LO", "1076_MTI_SAD_XX_")))
    laid_out(tmp_path, "VideoFlash/1064_IEO_DIS_MD.flv")
    skipped = Skipped()
    assert [ref.id for ref in refs("cremad", tmp_path, skipped)] == ["1064_IEO_DIS_LO"]
    assert list(skipped.left_out.values()) == [len(BROKEN) + 1]
    assert len(skipped.errors) == 1, "what is named otherwise is refused as ever"
    (alone,) = expand(str(tmp_path / "AudioWAV" / "1076_MTI_SAD_XX.wav"), extensions=BOTH)
    assert (alone.source, alone.labels) == ("file", {})


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_broken_ids_follow_the_naming(dataset: LabelledDataset) -> None:
    for name in dataset.broken:
        found = dataset.read(PurePosixPath(f"/data/{name}.wav"))
        assert found is not None
        assert found.id == name


def test_mead_has_seven_views_and_eight_emotions(tmp_path: Path) -> None:
    views = ("front", "left_30", "left_60", "right_30", "right_60", "top", "down")
    emotions = ("angry", "contempt", "disgusted", "fear", "happy", "sad", "surprised")
    names = [f"W040/video/{view}/{emotion}/level_3/030.mp4" for view in views for emotion in emotions]
    names += [f"W040/video/{view}/neutral/level_1/040.mp4" for view in views]
    skipped = Skipped()
    found = refs("mead", laid_out(tmp_path, *names), skipped)
    assert skipped.errors == []
    assert len({ref.key for ref in found}) == len(names)
    assert {ref.labels["view"] for ref in found} == set(views)
    assert len({ref.labels["emotion"] for ref in found}) == 8


def test_mead_labels_come_from_folders(tmp_path: Path) -> None:
    (ref,) = refs("mead", laid_out(tmp_path, "M003/video/left_30/disgusted/level_2/017.mp4"))
    assert ref.id == "M003_left_30_disgusted_2_017"
    assert ref.labels == {
        "actor": "M003",
        "sex": "male",
        "view": "left_30",
        "emotion": "disgust",
        "intensity": "2",
        "statement": "017",
    }
    inside = refs("mead", tmp_path / "M003" / "video")
    assert [found.labels for found in inside] == [ref.labels]


def test_ch_unicamp_labels_are_numbers(tmp_path: Path) -> None:
    (ref,) = refs("ch-unicamp", laid_out(tmp_path, "Em7_Fala2_CarolinaHolly.mp4"))
    assert ref.source == "chunicamp"
    assert ref.labels == {"emotion_number": "7", "utterance": "2", "speaker": "CarolinaHolly"}


def test_several_formats_are_one_video(tmp_path: Path) -> None:
    kinds = ("VideoFlash/1001_IEO_ANG_HI.flv", "AudioMP3/1001_IEO_ANG_HI.mp3", "AudioWAV/1001_IEO_ANG_HI.wav")
    laid_out(tmp_path, *kinds)
    heard, seen = Skipped(), Skipped()
    (sound,) = expand(f"cremad:{tmp_path}", skipped=heard, extensions=BOTH)
    (picture,) = expand(f"cremad:{tmp_path}", skipped=seen)
    assert sound.key == picture.key
    assert (Path(sound.uri).suffix, Path(picture.uri).suffix) == (".wav", ".flv")
    assert heard.copies.total() == 2
    assert seen.not_media == {".mp3": 1, ".wav": 1}


def test_archive_or_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ravdess.tar").touch()
    with pytest.raises(UsageError, match="unpack the archive"):
        refs("ravdess", tmp_path / "ravdess.tar")
    with pytest.raises(MissingFileError, match="no such folder"):
        refs("ravdess", tmp_path / "nothing")
    with pytest.raises(UsageError, match="the folder is missing"):
        list(expand("ravdess:"))


def test_dataset_needs_its_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(laid_out(tmp_path, "ravdess/03-01-01-01-01-01-01.wav"))
    (plain,) = expand("ravdess", extensions=BOTH)
    (labelled,) = expand("RAVDESS:ravdess", extensions=BOTH)
    assert (plain.source, labelled.source) == ("file", "ravdess")
    assert plain.labels == {}
