"""`mien weights path` and `pull` for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from mien.cluster.cli import cli

NAME = "silero_vad_v6"
"""Part of a package, so it is never downloaded."""


def weights(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, ["weights", *arguments, NAME])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_weights_json() -> None:
    path = weights("path").strip()
    assert Path(path).is_file()
    assert json.loads(weights("path", "--json")) == {"name": NAME, "path": path}
    (pulled,) = json.loads(weights("pull", "--json"))
    assert (pulled["name"], pulled["path"], pulled["pulled"]) == (NAME, path, False)
    assert "already downloaded" in weights("pull")


def test_fingerprint_json() -> None:
    shown = CliRunner().invoke(cli, ["config", "fingerprint"])
    output = CliRunner().invoke(cli, ["config", "fingerprint", "--json"])
    assert json.loads(output.stdout) == {"fingerprint": shown.stdout.strip()}
