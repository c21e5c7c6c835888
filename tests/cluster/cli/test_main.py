"""Every error is one line with an exit code; no command prints a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog
from tests.demo_media import needs_weights

Main = Callable[..., subprocess.CompletedProcess[str]]
MAIN = [sys.executable, "-c", "from mien.cluster.cli import main; main()"]

# Adds a command that executes the given code.
PLANTED = """
import sys, types, click
from mien.cluster.cli.main import cli, main
from mien.ingest.errors import *
module = types.ModuleType("planted")
@click.command()
def command():
    exec(sys.argv.pop())
module.command = command
sys.modules["planted"] = module
cli.lazy = {**cli.lazy, "planted": ("planted", "Planted.")}
main(["planted"])
"""


def mien(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MIEN_")}
    return subprocess.run(
        [*MAIN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**clean, **environment},
    )


def planted(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PLANTED, code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "line", "exit_code"),
    [
        ("raise ConfigError('one\\ntwo')", "mien: one two", 2),
        ("raise WeightsError('gone; pull')", "mien: gone; pull", 1),
        ("raise KeyboardInterrupt", "mien: interrupted", 130),
        ("raise click.Abort", "mien: interrupted", 130),
        ("raise SystemExit(7)", "", 7),
        ("click.get_current_context().exit(3)", "", 3),
        ("return_value = 5", "", 0),
    ],
)
def test_exit(code: str, line: str, exit_code: int) -> None:
    done = planted(code)
    assert done.returncode == exit_code
    assert done.stderr.strip() == line


def test_internal_error_writes_traceback_file() -> None:
    done = planted("{}['absent key']")
    assert done.returncode == 70
    assert done.stderr.count("\n") == 1
    match = re.search(r"mien: internal error: KeyError: 'absent key'; .*traceback in (\S+)", done.stderr)
    assert match is not None, done.stderr
    kept = Path(match[1])
    assert "Traceback (most recent call last)" in kept.read_text()
    kept.unlink()


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["wieghts"], "unknown command 'wieghts'; did you mean weights?; see `mien --help`"),
        (["config", "show", "--jsno"], "No such option"),
        (["--set", "a=b"], "No such option"),
        (["config", "show", "--set", "facez.x=1"], "unknown key facez.x"),
        (["config", "show", "--config", "absent.toml"], "no configuration file absent.toml"),
        (["weights", "path", "wishper"], "there are no weights named 'wishper'"),
    ],
)
def test_wrong_usage_is_one_line(mien_main: Main, arguments: list[str], output: str) -> None:
    done = mien_main(*arguments)
    assert done.returncode in {1, 2}
    assert done.stderr.startswith(f"mien: {output}"), done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["config", "show"], ["--help"]])
def test_broken_pipe_is_silent(tmp_path: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # before the command writes, so that its first write fails
    with os.fdopen(writing) as broken_pipe:
        done = subprocess.run(
            [*MAIN, *arguments],
            stdout=broken_pipe,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", [["run", "--only", "fetch"], ["status"], ["config", "show"]])
def test_closed_streams_are_ignored(tmp_path: Path, arguments: list[str], closed: str) -> None:
    needs_weights()  # their hashes are part of what a run is
    (tmp_path / "mien-store").mkdir()
    Catalog.open(f"sqlite:///{tmp_path}/mien-store/catalog.sqlite").close()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MIEN_STORE")}
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *MAIN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**clean, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (done.stdout == "") == (">&-" in closed.replace("2>&-", ""))


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_stream_number_is_not_reused(tmp_path: Path, closed: str) -> None:
    """Otherwise, output of a library or a child process would be written into the file."""
    code = (
        f"import os, subprocess; file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "os.write(1, b'said'); os.write(2, b'said')\n"
        "subprocess.run(['sh', '-c', 'echo said && echo said >&2'], check=True)\n"
        "file.write('whole'); file.close()"
    )
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", PLANTED, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, (tmp_path / "file").read_text()) == (0, "whole"), done.stderr


def test_interrupt_by_signal(tmp_path: Path) -> None:
    code = "print('ready', flush=True); import time; time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", PLANTED, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert (process.returncode, stderr.strip()) == (130, "mien: interrupted")


def test_config_show(mien_main: Main, tmp_path: Path) -> None:
    (tmp_path / "mien.toml").write_text('[store]\ncatalog = "postgresql://me:geheim@h/db"\n')
    done = mien_main("config", "show", MIEN_CLIP__MIN_SECONDS="2")
    assert done.returncode == 0
    assert "min_seconds = 2.0  # environment MIEN_CLIP__MIN_SECONDS" in done.stdout
    assert 'catalog = "postgresql://me:***@h/db"  # file mien.toml' in done.stdout
    shown = json.loads(mien_main("config", "show", "--json").stdout)
    assert shown["store.catalog"]["from"] == "file"


def test_weights_list_and_path(mien_main: Main) -> None:
    done = mien_main("weights", "list", "--json", "--set", "weights.licence=permissive")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["scrfd_500m"]["allowed"] is False
    assert rows["yunet_2023mar"]["allowed"] is True
    path = mien_main("weights", "path", "silero_vad_v6").stdout.strip()
    assert Path(path).is_file()


def test_weights_pull_keeps_to_the_licence(mien_main: Main) -> None:
    done = mien_main("weights", "pull", "scrfd_500m", "--licence", "permissive")
    assert (done.returncode, done.stdout) == (2, "")
    assert 'set faces.detector = "yunet_2023mar"' in done.stderr


@pytest.mark.slow
def test_doctor_in_json_and_its_exit_code(tmp_path: Path) -> None:
    done = mien("doctor", "--json", cwd=tmp_path, MIEN_WEIGHTS_DIR=str(tmp_path / "none"))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["ok"] is False and report["failed"] >= 3
    assert all(set(check) == {"name", "status", "message", "cure"} for check in report["checks"])
