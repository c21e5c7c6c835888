"""The terminal output of a run that only fetches, and of a stopped run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.demo_media import needs_weights
from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.mien_command import MIEN, mien, mien_in_process
from tests.sync_films import make_sync_film

FLAGS = ("--set", "fetch.allow_private_addresses=true", "--set", "fetch.attempts=1")


class Terminal:
    """The output so far, without cursor movements."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    def read(self) -> bool:
        """Reads more output; False at its end."""
        with suppress(OSError):  # how Linux says that
            if got := os.read(self._descriptor, 1 << 16):
                self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", got.decode("utf-8", "replace"))
                return True
        return False

    def read_until(self, pattern: str) -> None:
        while not re.search(pattern, self.text):
            assert self.read(), self.text

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def at_a_terminal(*arguments: str, folder: Path) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    shown, own = os.openpty()
    variables = {"MIEN_STORE__ROOT": str(folder / "store"), "COLUMNS": "120", "TERM": "xterm"}
    variables["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    process = subprocess.Popen(
        [*MIEN, *arguments],
        stdin=own,
        stdout=own,
        stderr=own,
        cwd=folder,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    os.close(own)
    with closing(Terminal(shown)) as terminal, process:
        try:
            yield terminal, process
        finally:
            process.kill()


@pytest.mark.slow
def test_stopped_run_counts_fetched_videos(tmp_path: Path) -> None:
    needs_weights()  # their hashes are part of what a run is
    make_sync_film(tmp_path / "film.mp4", container="mp4", seconds=2.0)
    film = (tmp_path / "film.mp4").read_bytes()
    with LoopbackServer() as server:
        for number in range(4):
            body = film + b"\0\0\0\x09free" + bytes([number])
            never_ends = {"pause_seconds": 0.2, "piece_bytes": 8} if number == 3 else {}
            server.pages[f"/{number}.mp4"] = [Reply(body=body, **never_ends)]  # type: ignore[arg-type]
        (tmp_path / "list.txt").write_text("".join(f"{server.url(path)}\n" for path in server.pages))
        assert mien("add", "list.txt", folder=tmp_path).returncode == 0
        with at_a_terminal("run", "--only", "fetch", *FLAGS, folder=tmp_path) as (terminal, process):
            terminal.read_until(r"3/4 videos · .*ETA ")
            process.send_signal(signal.SIGINT)
            while terminal.read():
                pass
            assert process.wait() == 130
    ended = terminal.text.partition(" took ")[2]
    assert "stopped   by SIGINT; committed shards remain; rerun to resume" in ended
    assert "4 waiting" in ended
    assert "fetched   3 of 4 videos" in ended
    assert "waiting for `mien run`" in ended
    assert "shards    none yet; `mien run` creates them" in ended
    output = mien("status", folder=tmp_path).stdout
    assert "fetched   3 of 4 videos" in output
    assert "identity" not in output, "no platform was asked"


def test_run_help_explains_signals_and_ray(tmp_path: Path) -> None:
    output = " ".join(mien_in_process("run", "--help", folder=tmp_path).output.split())
    assert "aborts the rest, including downloads" in output
    assert "Ray is used only if --address names a cluster" in output
