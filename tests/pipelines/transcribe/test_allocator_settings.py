"""The stage's environment variables reduce page faults in the encoder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from mien.pipelines.transcribe.stage import Transcribe
from tests.demo_media import needs_weights

COUNT_PAGE_FAULTS = """
import ctypes, resource
assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0  # PR_SET_THP_DISABLE: the same page size on every machine
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


def _page_faults(**environment: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", COUNT_PAGE_FAULTS]
    done = subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the variables are glibc's")
def test_encoder_reuses_memory_without_page_faults() -> None:
    needs_weights()
    default, tuned = _page_faults(), _page_faults(**Transcribe.environment)
    assert default > 10_000, "the library reuses its memory by default now: remove the variables"
    assert tuned < default / 10
