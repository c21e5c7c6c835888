"""Logs are text or JSON lines on stderr, and carry the ids of the run, video and segment."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from mien.cluster import logs
from mien.cluster.engine.actor import THREAD_VARIABLES, Actor
from mien.cluster.engine.messages import Setup, encode
from mien.pipelines.stage import Stage, StageContext
from tests.mien_command import mien


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Restores the logger, which `configure` changes for the whole process."""
    logger = logging.getLogger("mien")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_json_lines_carry_run_and_video(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(format="json")
    with structlog.contextvars.bound_contextvars(run_id="r1"):
        logs.get_logger("mien.run").info("fetch failed", video="file-a", segment="file-a-0")
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["level"], line["logger"]) == ("fetch failed", "info", "mien.run")
    assert (line["run_id"], line["video"], line["segment"]) == ("r1", "file-a", "file-a-0")


def test_standard_loggers_use_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(format="json")
    with structlog.contextvars.bound_contextvars(run_id="r1"):
        logging.getLogger("mien.youtube").warning("slow: %d s", 3, extra={"video": "youtube-a"})
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["run_id"], line["video"]) == ("slow: 3 s", "r1", "youtube-a")


class _Warning(Stage):
    """Logs when its worker starts."""

    name = "warning"

    def setup(self, context: StageContext) -> None:
        logging.getLogger("mien.stage").warning("starting")

    def __call__(self, item: Any, /) -> Iterable[Any]:
        return ()


def test_workers_use_the_configured_format(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREAD_VARIABLES:  # the actor sets them for its whole process
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "json")
    actor = Actor(pickle.dumps((_Warning(), StageContext())), threads=1, last=True, reports=False)
    actor.answer(encode(Setup(memory_mb=None)))
    assert json.loads(capsys.readouterr().err)["message"] == "starting"


def test_text_is_one_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.get_logger("mien.run").info("resuming after run r0", run_id="r1")
    assert capsys.readouterr().err.endswith("[info] resuming after run r0 run_id=r1\n")


@pytest.mark.parametrize(("level", "shown"), [("debug", 2), ("info", 1), ("error", 0)])
def test_level_hides_less_severe_lines(capsys: pytest.CaptureFixture[str], level: str, shown: int) -> None:
    logs.configure(level=level)
    logger = logs.get_logger("mien.run")
    logger.debug("one")
    logger.info("two")
    assert capsys.readouterr().err.count("\n") == shown


def test_configuring_twice_prints_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.configure(format="json")
    logs.get_logger("mien.run").warning("once")
    assert capsys.readouterr().err.count("\n") == 1
    assert logs.writes_json()


def test_without_configuration_info_is_silent() -> None:
    code = "from mien.cluster.logs import get_logger; get_logger('mien.run').info('hidden')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_module_imports_without_structlog() -> None:
    code = "import sys, mien.cluster.logs; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("options", [("--log-format", "json"), ()])
def test_errors_follow_the_log_format(tmp_path: Path, options: tuple[str, ...]) -> None:
    environment = {} if options else {"MIEN_LOG_FORMAT": "json"}
    done = mien(*options, "status", folder=tmp_path, **environment)
    assert done.returncode == 2
    line = json.loads(done.stderr)
    assert (line["level"], line["exit_code"]) == ("error", 2)
    assert line["message"].startswith("no catalog at ")


def test_log_option_after_the_command_is_explained(tmp_path: Path) -> None:
    done = mien("status", "--log-format", "json", folder=tmp_path)
    assert done.returncode == 2
    assert "write it before the command: mien --log-format" in done.stderr
