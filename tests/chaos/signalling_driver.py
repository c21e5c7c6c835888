"""A driver that sends itself a signal (KILL, STOP) at one exact step of the commit protocol.

    python -m tests.chaos.signalling_driver SIGNAL STEP OCCURRENCE STORE FLAG...

It runs `mien run --local` with subclasses of the real store, catalog and tar writer. They send the signal
when they reach `STEP` for the `OCCURRENCE`th time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

import mien.cluster.runner.run as runner
import mien.pipelines.shards.write as writing
from mien.cluster.cli import main as mien
from mien.ingest.catalog import Catalog, SegmentRecord, ShardRecord
from mien.ingest.media import Job
from mien.ingest.storage.local import LocalStore
from mien.pipelines.data import Sample
from mien.pipelines.shards.tar import Place, TarWriter
from tests.chaos.films import as_options

STEPS = (
    "claimed",
    "tar torn",
    "tar written",
    "tar closed",
    "tar published",
    "committed",
    "sidecar written",
    "sidecar published",
    "sidecar marked",
    "run not ended",
)


class Plan:
    number = signal.SIGKILL
    step = ""
    left = 0


def reached(step: str) -> None:
    if step == Plan.step:
        Plan.left -= 1
        if Plan.left == 0:
            os.kill(os.getpid(), Plan.number)


class SignallingTar(TarWriter):
    def append(self, sample: Sample) -> dict[str, Place]:
        if Plan.step == "tar torn" and Plan.left == 1:
            self._file.write(b"half a header")
            self._file.flush()
        reached("tar torn")
        places = super().append(sample)
        reached("tar written")
        return places

    def close(self) -> str:
        sha256 = super().close()
        reached("tar closed")
        return sha256


class SignallingStore(LocalStore):
    def publish(self, local_path: Path, name: str) -> str:
        uri = super().publish(local_path, name)
        reached("tar published")
        return uri

    def _reveal(self, temporary: Path, final: Path) -> None:
        reached("sidecar written")
        super()._reveal(temporary, final)

    def publish_bytes(self, data: bytes, name: str) -> str:
        uri = super().publish_bytes(data, name)
        reached("sidecar published")
        return uri


class SignallingCatalog(Catalog):
    def claim(self, run_id: str, **how: Any) -> list[Job]:
        jobs = super().claim(run_id, **how)
        reached("claimed")
        return jobs

    def commit_shard(self, run_id: str, shard: ShardRecord, records: Sequence[SegmentRecord]) -> None:
        super().commit_shard(run_id, shard, records)
        reached("committed")

    def mark_sidecar(self, name: str) -> None:
        super().mark_sidecar(name)
        reached("sidecar marked")

    def end_run(self, run_id: str, outcome: str) -> None:
        reached("run not ended")
        super().end_run(run_id, outcome)


def main() -> None:
    Plan.number = signal.Signals[f"SIG{sys.argv[1]}"]
    Plan.step, Plan.left = sys.argv[2], int(sys.argv[3])
    for module in (runner, writing):
        module.open_store = lambda uri: SignallingStore(Path(uri))  # type: ignore[attr-defined]
    runner.Catalog = SignallingCatalog  # type: ignore[attr-defined]
    writing.TarWriter = SignallingTar  # type: ignore[attr-defined]
    mien(["run", "--local", *as_options((f"store.root={sys.argv[4]}", *sys.argv[5:]))])


def start(number: str, step: str, occurrence: int, store: Path, *flags: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.chaos.signalling_driver",
        number,
        step,
        str(occurrence),
        str(store),
        *flags,
    ]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_stopped(driver: subprocess.Popen[str]) -> None:
    """Waits until the driver has sent itself SIGSTOP."""
    while psutil.Process(driver.pid).status() != psutil.STATUS_STOPPED:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
