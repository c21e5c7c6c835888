"""After `kill -9` of the trainer its workers end, and training resumes exactly from its state."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import psutil
import pytest

from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, write_corpus

SIZES = [13, 8, 20]

TRAINER = """
import json, sys
from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, numbers_of

reader = ShardReader(sys.argv[1], collate=Numbers(), cache_dir=sys.argv[2], seed=7)
loader = reader.loader(global_batch=5, workers=2)  # no main guard: none is needed
print(json.dumps(loader._queue.pids), flush=True)
while True:
    for batch in loader:
        print(json.dumps([batch["number"].tolist(), loader.state_dict()]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", [1, 9, 14])
def test_resumes_after_kill(tmp_path: Path, kill_after: int) -> None:
    """41 samples in batches of 5: 9 batches per epoch."""
    folder = write_corpus(tmp_path / "corpus", SIZES)
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(folder), str(tmp_path / "cache")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert trainer.stdout is not None
    with trainer.stdout:
        workers = json.loads(trainer.stdout.readline())
        assert all(psutil.pid_exists(pid) for pid in workers)
        received = [json.loads(trainer.stdout.readline()) for _ in range(kill_after)]
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
    deadline = time.monotonic() + 300
    while any(_is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers survive their parent"
        time.sleep(0.05)

    reader = ShardReader(folder, collate=Numbers(), cache_dir=tmp_path / "other cache", seed=7)
    with reader.loader(global_batch=5) as loader:
        expected = [batch["number"].tolist() for _ in range(2) for batch in loader]
    rest = []
    with reader.loader(global_batch=5, workers=1) as loader:
        loader.load_state_dict(received[-1][1])
        while loader.epoch < 2:
            rest += [batch["number"].tolist() for batch in loader]
    assert [numbers for numbers, _ in received] + rest == expected
    assert set(chain(*expected[:9])) == set(chain(*expected[9:])) == set(range(41))


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
