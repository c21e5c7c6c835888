"""Runs `mien shards` in this process, with JSON or text output."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from mien.cluster.cli.main import main
from tests.mien_command import mien_in_process


def shards_json(*arguments: str | Path, folder: Path) -> Any:
    """The parsed output of the command with --json."""
    done = mien_in_process("shards", *arguments, "--json", folder=folder)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def shards_text(*arguments: str | Path, folder: Path) -> str:
    """The text output of the command."""
    done: Result = mien_in_process("shards", *arguments, folder=folder)
    assert done.exit_code == 0, done.output
    return done.stdout


def shards_error(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Expects the command to fail. Returns the exit code and the one-line error message."""
    with pytest.raises(SystemExit) as ended:
        main(["shards", *map(str, arguments)])
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert isinstance(ended.value.code, int)
    return ended.value.code, message


def corrupt_member(tar: Path, key: str, extension: str) -> None:
    """Flips the first bytes of a member."""
    with tarfile.open(tar) as archive:
        member = archive.getmember(f"{key}.{extension}")
    data = bytearray(tar.read_bytes())
    for at in range(member.offset_data, member.offset_data + 8):
        data[at] ^= 0xFF
    tar.write_bytes(data)
