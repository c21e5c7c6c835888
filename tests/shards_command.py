"""`mien shards` asked in this process, as a program and as a person ask it."""

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
    """What the command says with --json."""
    done = mien_in_process("shards", *arguments, "--json", folder=folder)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def shards_text(*arguments: str | Path, folder: Path) -> str:
    done: Result = mien_in_process("shards", *arguments, folder=folder)
    assert done.exit_code == 0, done.output
    return done.stdout


def shards_error(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and the one line."""
    with pytest.raises(SystemExit) as ended:
        main(["shards", *map(str, arguments)])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert isinstance(ended.value.code, int)
    return ended.value.code, said


def corrupt_member(tar: Path, key: str, extension: str) -> None:
    """Flips the first bytes of a member."""
    with tarfile.open(tar) as archive:
        member = archive.getmember(f"{key}.{extension}")
    data = bytearray(tar.read_bytes())
    for at in range(member.offset_data, member.offset_data + 8):
        data[at] ^= 0xFF
    tar.write_bytes(data)
