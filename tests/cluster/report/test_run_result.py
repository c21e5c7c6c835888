"""What a run prints at its end."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

from mien.cluster.report.status import result_lines, signal_name
from mien.cluster.runner.run import RunResult
from mien.ingest.catalog import Catalog, MediaRoom
from tests.ingest.catalog.makers import begin, ref, video_failure


def result_of(catalog: Catalog) -> RunResult:
    return RunResult(
        run_id="r1",
        seconds=5.0,
        status=catalog.status(),
        room=MediaRoom(retained_bytes=0, under_way_bytes=0),
        egress=[],
        other_fingerprint_videos=0,
    )


def test_result_names_signal_and_says_rerun(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        catalog.add([ref("a")])
        result = result_of(catalog)
    stopped = replace(result, signal=int(signal.SIGTERM))
    assert (signal_name(result), signal_name(stopped)) == (None, "SIGTERM")
    output = "stopped   by SIGTERM; committed shards remain; rerun to resume"
    assert result_lines(stopped, "/shards")[1] == output
    assert result_lines(result, "/shards") == [
        line for line in result_lines(stopped, "/shards") if line != output
    ]


def test_result_without_shards(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        catalog.add([ref("a")])
        assert (
            result_lines(result_of(catalog), "/x")[-1] == "shards    none yet; `mien run` creates them, in /x"
        )
        run_id = begin(catalog)
        catalog.claim(run_id, limit=1)
        catalog.record_video_failure(run_id, video_failure("a"))
        assert result_lines(result_of(catalog), "/x")[-1] == "shards    none, in /x"
