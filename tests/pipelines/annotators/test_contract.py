"""Adding an annotator is one file and one line: everything else follows from what it declares."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mien import ShardReader
from mien.cluster.cli import cli
from mien.cluster.config import Settings, fingerprint, load, weights_in_use
from mien.cluster.config.show import as_toml
from mien.cluster.runner.pool_planning import build_context, build_stages
from mien.ingest.errors import ConfigError
from mien.pipelines.annotators import ANNOTATORS
from mien.pipelines.annotators.annotator import Annotator, FaceAnnotator, Rows, Scalar, SoundAnnotator
from mien.pipelines.data import ROW_HZ, Clip, FaceTrack, Float32, Float64, Segment, Shard, Track
from mien.pipelines.shards.index import filter_columns
from mien.pipelines.stage import ClipSettings, StageContext
from tests.pipelines.align.test_stage import segment, talk, track

CONTEXT = StageContext(clip=ClipSettings(), max_pause_seconds=1.0)


@dataclass(kw_only=True)
class EyeDistance(FaceAnnotator):
    """The distance between the eyes, as a new annotator would measure it."""

    name = "eye_distance"
    inputs = ("landmarks",)
    columns = ("distance_pixels",)
    scalars = {"eye_distance_pixels": "float"}  # noqa: RUF012 (never changed)

    scale: float = 1.0

    def weights(self) -> tuple[str, ...]:
        return ("yunet_2023mar",)

    def of_face(self, face: FaceTrack, segment: Segment, rows: Rows) -> Float32:
        eyes = face.landmarks[rows, :2]
        return np.asarray(self.scale * np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)[:, None], np.float32)

    def summarise(self, track: Track | None, clip: Clip) -> dict[str, Scalar]:
        return {"eye_distance_pixels": None if track is None else float(np.nanmean(track.values))}


@dataclass(kw_only=True)
class Loudness(SoundAnnotator):
    """The loudness of the sound, ten times a second."""

    name = "loudness"
    inputs = ("sound",)
    columns = ("rms",)
    rate_hz = 10.0

    def of_sound(self, segment: Segment) -> tuple[Float64, Float32]:
        assert segment.sound is not None
        blocks = segment.sound[: segment.sound.size // 1600 * 1600].reshape(-1, 1600).astype(np.float32)
        times = np.asarray(segment.start + (np.arange(len(blocks)) + 0.5) / self.rate_hz, np.float64)
        return times, np.sqrt((blocks**2).mean(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (EyeDistance, Loudness):
        monkeypatch.setitem(ANNOTATORS, kind.name, kind)


def one_face() -> Segment:
    seen = np.ones(250, bool)
    face = track(0, 0, seen, 1.0)
    face.landmarks[:, 1] = (30.0, 0.0)
    return segment(0, 250, tracks=(face,), speech=[(0.0, 10.0)], words=talk(0.5, 9.5))


def write_shard(settings: Settings, item: Segment, folder: Path) -> Shard:
    """Runs the last two stages of the pipeline, and publishes the index as the driver would."""
    *_, align, write = build_stages(settings)
    context = build_context(settings, run_id="run", fingerprint=fingerprint(settings))
    align.setup(context)
    write.setup(context)
    outputs = [shard for done in align(item) for shard in write(done)]
    outputs += list(write.flush())  # type: ignore[attr-defined]
    (shard,) = outputs
    assert isinstance(shard, Shard)
    (folder / "store" / "shards" / f"{shard.name}.parquet").write_bytes(shard.index)
    return shard


def members(shard: Shard) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(shard.uri.removeprefix("file://")) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            found[member.name.partition(".")[2]] = content.read()
    return found


@pytest.mark.usefixtures("registered")
def test_new_annotator_needs_no_other_change(tmp_path: Path) -> None:
    store = f"store.root={tmp_path}/store"
    (tmp_path / "store" / "shards").mkdir(parents=True)
    (tmp_path / "store" / "spool").mkdir()
    loaded = load(flags=[store, "annotators.eye_distance.scale=2"], environment={})
    settings = loaded.settings

    # Its fields are a section of the configuration.
    assert "[annotators.eye_distance]\nscale = 2.0  # flag" in as_toml(loaded)
    with pytest.raises(ConfigError, match=r"did you mean annotators\.eye_distance\.scale"):
        load(flags=["annotators.eye_distance.scael=2"], environment={})

    # Its weights are checked, and its settings change the fingerprint.
    assert "yunet_2023mar" in weights_in_use(settings)
    assert fingerprint(settings) != fingerprint(load(flags=[store], environment={}).settings)

    # Its track is a member of the sample, with its columns in the json.
    shard = write_shard(settings, one_face(), tmp_path)
    sample = members(shard)
    values = np.load(io.BytesIO(sample["eye_distance.npy"]))
    meta = json.loads(sample["json"])
    assert values.shape == (meta["rows"], 1)
    assert values.dtype == np.float32
    assert meta["tracks"]["eye_distance"] == ["distance_pixels"]
    assert meta["quality"]["eye_distance_pixels"] == pytest.approx(float(np.nanmean(values)))

    # A track of the sound is brought to the clip's clock.
    assert np.load(io.BytesIO(sample["loudness.npy"])).shape == (meta["rows"], 1)

    # Its scalar is a column of the index and of the statistics.
    shards = str(tmp_path / "store" / "shards")
    result = CliRunner().invoke(cli, ["shards", "stats", shards], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "eye distance pixels" in result.output

    # Its track is a field of a batch, and its scalar a filter.
    reader = ShardReader(
        shards, fields=["eye_distance"], where="eye_distance_pixels > 0", cache_dir=tmp_path / "cache"
    )
    with reader.loader(global_batch=1, workers=0) as loader:
        (batch,) = list(loader)
    assert np.allclose(np.asarray(batch["eye_distance"])[0], values, equal_nan=True)


def test_defaults_do_not_mention_unregistered_annotators(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key annotators"):
        load(flags=["annotators.eye_distance.scale=2"], environment={})


@pytest.mark.parametrize("name", [*ANNOTATORS, EyeDistance.name, Loudness.name])
@pytest.mark.usefixtures("registered")
def test_annotator_keeps_its_declaration(name: str) -> None:
    kind: type[Annotator] = ANNOTATORS[name]
    annotator = kind()
    item = one_face()
    annotator.setup(CONTEXT)
    annotated = annotator(item)
    annotator.close()
    assert annotator.name == name
    tracks = tracks_of(annotated, name)
    assert len(tracks) == 1 or not annotator.columns
    for found in tracks:
        assert found.columns == annotator.columns
        assert found.values.shape == (found.times_seconds.size, len(annotator.columns))
        assert found.values.dtype == np.float32
        assert found.times_seconds.dtype == np.float64
        assert (np.diff(found.times_seconds) > 0).all()
        assert not np.isinf(found.values).any(), "what is unknown is NaN"
        steps = np.diff(found.times_seconds)
        assert np.allclose(steps, 1 / annotator.rate_hz, atol=0.5 / ROW_HZ)


@pytest.mark.parametrize("name", [*ANNOTATORS, EyeDistance.name])
@pytest.mark.usefixtures("registered")
def test_annotator_summarises_a_missing_track(name: str) -> None:
    annotator = ANNOTATORS[name]()
    annotator.setup(CONTEXT)
    clip = Clip(segment=one_face(), face=None, first_row=0, row_count=25, words=())
    found = annotator.summarise(None, clip)
    assert found.keys() == annotator.scalars.keys()
    assert all(value is None for value in found.values())


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.usefixtures("registered")
def test_heavy_annotator_gets_a_pool(monkeypatch: pytest.MonkeyPatch, heavy: bool) -> None:
    monkeypatch.setattr(EyeDistance, "heavy", heavy)
    names = [stage.name for stage in build_stages(load(environment={}).settings)]
    assert ("annotate" in names) == heavy


@pytest.mark.usefixtures("registered")
def test_speech_corpus_skips_annotators_of_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EyeDistance, "heavy", True)
    settings = load(flags=["clip.require=speech"], environment={}).settings
    assert "annotate" not in [stage.name for stage in build_stages(settings)]
    assert "yunet_2023mar" not in weights_in_use(settings)
    assert {"landmarks", "speaking"} <= {annotator.name for annotator in settings.enabled_annotators()}


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("name", "times"),
        ("scalars", {"speech_ratio": "int32"}),
        ("scalars", {"speaking_score": "string"}),
    ],
)
@pytest.mark.usefixtures("registered")
def test_taken_names_are_rejected(monkeypatch: pytest.MonkeyPatch, attribute: str, value: object) -> None:
    monkeypatch.setattr(EyeDistance, attribute, value)
    with pytest.raises(ValueError, match=r"annotator.*rename it"):
        filter_columns()


def test_scalars_have_one_owner() -> None:
    names = [scalar for kind in ANNOTATORS.values() for scalar in kind.scalars]
    assert len(names) == len(set(names))


def tracks_of(item: Segment, name: str) -> Sequence[Track]:
    of_faces = [face.tracks[name] for face in item.tracks or () if name in face.tracks]
    return of_faces or [each for key, each in item.sound_tracks.items() if key == name]
