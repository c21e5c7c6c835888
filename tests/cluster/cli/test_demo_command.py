"""`mien demo` for a program: what it says on its way goes elsewhere."""

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
    told = json.loads(done.stdout)
    assert {film["title"]: film["state"] for film in told["films"]} == dict.fromkeys(
        ("talks", "silent", "no_face"), "done"
    )
    kept = sum(film["seconds_by_fate"].get("kept", 0.0) for film in told["films"])
    assert kept == pytest.approx(told["seconds_by_fate"]["kept"], abs=0.01)
    assert told["faults"] == []
    assert told["unpacked"]
    assert all(Path(sheet).is_file() for sheet in told["unpacked"])
