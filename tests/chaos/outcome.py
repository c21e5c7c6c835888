"""The final contents of a store, and their comparison with those of an undisturbed run."""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from mien.cluster.runner.verification import verify
from mien.ingest.catalog import Catalog
from tests.mien_command import settings_in

CATALOG_FILES = {"catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a complete run."""

    members: dict[str, str]
    """SHA-256 of each member of each sample, by its name in the tar. These bytes are the same in every run: a
    sample contains no time, run id or shard name."""
    videos: dict[str, int]
    segments: dict[str, int]
    seconds_by_fate: dict[str, float]
    media_seconds: float


def outcome_of(store: Path, *flags: str) -> Outcome:
    """Fails if the store is inconsistent."""
    settings = settings_in(store, *flags)
    verified = verify(settings, deep=True)
    assert verified.faults == []
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        status = catalog.status()
        shards = {shard.name for shard in catalog.shards()}
    assert status.live_runs == []
    assert status.shards_without_sidecar == 0
    members = _members(store / "shards")
    _assert_no_orphan(store, shards)
    outcome = Outcome(
        members=members,
        videos=status.videos,
        segments=status.segments,
        seconds_by_fate={fate: round(seconds, 6) for fate, seconds in status.seconds_by_fate.items()},
        media_seconds=round(status.media_seconds, 6),
    )
    assert sample_count(outcome) == verified.samples == status.samples
    return outcome


def sample_count(outcome: Outcome) -> int:
    return len({name.partition(".")[0] for name in outcome.members})


def assert_same(outcome: Outcome, reference: Outcome) -> None:
    assert set(outcome.members) == set(reference.members)
    assert [name for name, sha256 in outcome.members.items() if reference.members[name] != sha256] == []
    assert outcome.videos == reference.videos
    assert outcome.segments == reference.segments
    assert outcome.seconds_by_fate == pytest.approx(reference.seconds_by_fate)
    assert outcome.media_seconds == pytest.approx(reference.media_seconds)


def _members(shards: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for tar in sorted(shards.glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                assert member.name not in found, f"{member.name} occurs twice"
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = hashlib.sha256(content.read()).hexdigest()
    return found


def _assert_no_orphan(store: Path, shards: set[str]) -> None:
    expected = {f"shards/{name}{end}" for name in shards for end in ("", ".parquet")}
    found_files = {str(path.relative_to(store)) for path in store.rglob("*")}
    assert found_files - expected - CATALOG_FILES - {"shards", "spool"} == set()
