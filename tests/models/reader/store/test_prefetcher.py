"""Prefetching delays neither the reader nor the end of the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.models.reader.store.prefetcher import THREADS
from tests.models.corpora import write_corpus

SHARDS = 40
PROGRAM = """
import os, sys, time
from concurrent.futures import thread
from pathlib import Path
import numpy as np
from mien.models.reader.corpus.corpus import open_corpus
from mien.models.reader.store import prefetcher
from mien.models.reader.store.shard_source import ShardSourceSpec

done = False

class Slow:
    def open(self, shard):
        os.write(1, b"%d\\n" % shard)
        while not done and not thread._shutdown:  # set when the interpreter is about to end
            time.sleep(0.01)
        raise OSError("not there")

folder, cache = sys.argv[1], Path(sys.argv[2])
prefetcher._files = lambda spec, corpus: Slow()
corpus = open_corpus(folder, where=None, cache=cache, options={})
spec = ShardSourceSpec(uri=folder, index=corpus.index.folder, options={}, cache=cache, cache_bytes=1 << 40,
                  timeout_seconds=9.0, ranged=None)
fetching = prefetcher.Prefetcher([spec], [corpus])
samples = np.arange(len(corpus))
for _ in range(int(sys.argv[3])):
    fetching.announce(np.zeros_like(samples), samples)
if sys.argv[4] == "waits":
    done = True
    while fetching._in_progress:
        time.sleep(0.01)
"""


def fetched(tmp_path: Path, times: int, then: str) -> list[int]:
    if not (tmp_path / "corpus").exists():
        write_corpus(tmp_path / "corpus", [1] * SHARDS)
    arguments = [tmp_path / "corpus", tmp_path / "cache", times, then]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.mark.slow
def test_downloads_announced_shards_once(tmp_path: Path) -> None:
    assert sorted(fetched(tmp_path, 3, "waits")) == list(range(SHARDS))


@pytest.mark.slow
def test_exit_does_not_wait_for_announced_shards(tmp_path: Path) -> None:
    """A program that did not close its loader waits only for downloads in progress."""
    assert len(fetched(tmp_path, 1, "ends")) <= THREADS
