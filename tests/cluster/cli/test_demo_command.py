"""`mien demo --json` prints only JSON to stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.demo_media import demo_clip, needs_weights
from tests.mien_command import mien


@pytest.mark.slow
def test_demo_json(tmp_path: Path) -> None:
    needs_weights()
    demo_clip("talks.mp4")
    done = mien("demo", "--local", "--json", "--folder", tmp_path / "demo", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    output = json.loads(done.stdout)
    assert {film["title"]: film["state"] for film in output["films"]} == dict.fromkeys(
        ("talks", "silent", "no_face"), "done"
    )
    kept = sum(film["seconds_by_fate"].get("kept", 0.0) for film in output["films"])
    assert kept == pytest.approx(output["seconds_by_fate"]["kept"], abs=0.01)
    assert output["faults"] == []
    assert output["unpacked"]
    assert all(Path(sheet).is_file() for sheet in output["unpacked"])
