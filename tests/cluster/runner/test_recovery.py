"""What recovery deletes, where shards must be stored, and how broken shards are regenerated."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from mien.cluster.runner.recovery import check_shards_location, uncommitted
from mien.cluster.runner.verification import repair, verify
from mien.ingest.catalog import Catalog
from mien.ingest.errors import ConfigError
from mien.ingest.storage import open_store
from tests.demo_media import demo_clip, needs_weights
from tests.mien_command import add_and_run, settings_in
from tests.webdataset_samples import read_shards


def catalog_in(folder: Path) -> Catalog:
    return Catalog.open(f"sqlite:///{folder}/catalog.sqlite")


def test_only_own_stray_files_are_deleted(tmp_path: Path) -> None:
    with contextlib.closing(catalog_in(tmp_path)) as catalog:
        ours = catalog.begin_run(fingerprint="f", config_json="{}", host="h", lease_seconds=60)
        live = catalog.begin_run(fingerprint="f", config_json="{}", host="h", lease_seconds=60)
        catalog.end_run(ours, "failed")
        foreign = "0" * len(ours)
        names = [f"{run}-abcdef-00000.tar{end}" for run in (ours, live, foreign) for end in ("", ".parquet")]
        others = [
            "holiday.tar",
            f"{ours}.tar",
            f"{ours}-notes.tar",
            "README.md",
            f"{ours}-abcdef-00000.tar.bak",
        ]
        assert uncommitted(catalog, [*names, *others]) == names[:2]


@pytest.mark.slow
def test_broken_shard_is_invalidated_and_regenerated(tmp_path: Path) -> None:
    needs_weights()
    add_and_run(tmp_path, demo_clip("talks.mp4"), demo_clip("no_face.mp4"))
    settings = settings_in(tmp_path)
    before = {sample.key: sample.meta for sample in read_shards(tmp_path / "shards")}
    assert before
    (shard,) = (tmp_path / "shards").glob("*.tar")
    stranger = tmp_path / "shards" / "holiday.tar"
    stranger.write_bytes(b"somebody's")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.unlink()
    shard.write_bytes(data)
    report = verify(settings, deep=True)
    assert report.broken == [shard.name] and len(report.faults) == 1
    assert repair(settings, report.broken) == 1
    assert not shard.exists()
    result = add_and_run(tmp_path, demo_clip("talks.mp4"))
    assert result.status.samples == len(before)
    after = verify(settings, deep=True)
    assert (after.faults, after.samples) == ([], len(before))
    assert stranger.read_bytes() == b"somebody's"
    stranger.unlink()
    assert {sample.key: sample.meta for sample in read_shards(tmp_path / "shards")} == before
    total = sum(result.status.seconds_by_fate.values())
    assert total == pytest.approx(result.status.media_seconds, abs=0.01)

    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        check_shards_location(catalog, open_store(settings.store.shards_uri))
        with pytest.raises(ConfigError, match=r"store\.shards"):
            check_shards_location(catalog, open_store(str(tmp_path / "elsewhere")))
