"""What the stage asks of its process's environment does what it is there for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from mien.pipelines.transcribe.stage import Transcribe
from tests.demo_media import needs_weights

FAULTS_OF_A_WINDOW = """
import ctypes, resource
assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0  # PR_SET_THP_DISABLE: pages of one size on every machine
import numpy as np
from mien.pipelines.transcribe.whisper import open_whisper
from mien.pipelines.weights import locate

model, _ = open_whisper(str(locate("whisper-base")), device="cpu", compute_type="int8", threads=1)
windows = np.random.default_rng(7).normal(0, 0.5, (3, 80, 3000)).astype(np.float32)
model.encode(windows[0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
model.encode(windows[1])
model.encode(windows[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(**environment: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS_OF_A_WINDOW]
    done = subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="these are glibc's variables")
def test_the_encoder_gets_its_memory_back_without_asking_the_kernel() -> None:
    needs_weights()
    as_it_comes, kept = _faults(), _faults(**Transcribe.environment)
    assert as_it_comes > 10_000, "the library keeps its memory by itself now: the variables can go"
    assert kept < as_it_comes / 10
