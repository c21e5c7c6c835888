"""What the observer records when another run has taken over some of its videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.cluster.runner.observer import RunObserver
from mien.ingest.catalog import Catalog
from mien.ingest.storage import open_store
from mien.pipelines.data import SegmentDone
from tests.ingest.catalog.makers import begin, ref


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db") as opened:
        yield opened


def an_observer(catalog: Catalog, run_id: str, folder: Path) -> RunObserver:
    return RunObserver(
        catalog,
        open_store(str(folder / "shards")),
        run_id,
        fingerprint="f1",
        heartbeat=lambda: None,
        video_stages=("fetch", "split"),
        on_progress=lambda catalog, snapshot, seconds: None,
    )


def dropped(name: str, start: int) -> SegmentDone:
    """A segment of 60 s without a face."""
    return SegmentDone(
        video_key=f"folder-{name}",
        start_ms=start * 1000,
        end_ms=(start + 60) * 1000,
        seconds_by_fate={"no_face": 60.0},
        sample_count=0,
    )


def test_batch_survives_one_lost_video(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add([ref("a"), ref("b"), ref("c")])
    observer = an_observer(catalog, begin(catalog), tmp_path)
    assert len(observer.next_inputs(3) or ()) == 3
    observer.exhausted("folder-b", 0)  # its books are closed: what still comes of it is refused
    for name, start in (("a", 0), ("b", 0), ("c", 0), ("a", 60)):
        observer.finished(dropped(name, start))
    observer.close()
    ended = {}
    for name in "abc":
        history = catalog.explain(f"folder-{name}")
        assert history is not None
        ended[name] = [segment.start_ms for segment in history.segments]
    assert ended == {"a": [0, 60_000], "b": [], "c": [0]}
    observer.exhausted("folder-a", 2)
    observer.exhausted("folder-c", 1)
    assert catalog.status().videos["done"] == 3


def test_lost_lease_writes_nothing_more(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add([ref("a")])
    run_id = begin(catalog)
    observer = an_observer(catalog, run_id, tmp_path)
    assert len(observer.next_inputs(1) or ()) == 1
    observer.finished(dropped("a", 0))
    catalog.end_run(run_id, "taken over")
    observer.close()
    history = catalog.explain("folder-a")
    assert history is not None
    assert (history.state, history.segments) == ("waiting", [])
