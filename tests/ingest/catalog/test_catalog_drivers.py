"""Several drivers are as polite together as one: processes that share one governor."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ingest.catalog import Catalog
from tests.ingest.catalog.platforms import tubes

ROOT = Path(__file__).resolve().parents[3]
VIDEOS_PER_HOUR = 40
SECONDS = 3500
"""Less than an hour, so that the budget is that of one window."""

DRIVER = f"""
import sys
from ingest.catalog import Catalog
from ingest.rate.identity import Identity
from tests.ingest.catalog.makers import begin
from tests.ingest.catalog.platforms import HAD, ask

class Fast:
    '''Five seconds pass at each look; all share the file that counts them, as machines share the time.'''
    def __init__(self, path):
        self.path = path
    def __call__(self):
        with open(self.path, "ab") as file:
            file.write(b".")
            return 1e6 + 5.0 * file.tell()

identities = [Identity("a", videos_per_hour={VIDEOS_PER_HOUR}), Identity("b", videos_per_hour=7)]
clock = Fast(sys.argv[2])
catalog = Catalog.open(sys.argv[1], clock=clock)
run_id = catalog.begin_run(fingerprint="f1", config_json="{{}}", host="h", lease_seconds=1e6)
print("ready", flush=True)
sys.stdin.readline()
while clock() < 1e6 + {SECONDS}:
    for job in ask(catalog, run_id, identities, limit=3):
        print(job.identity, job.key)
        catalog.settle(run_id, job.key, HAD)
"""


@pytest.mark.slow
def test_drivers_in_processes_of_their_own_keep_to_one_budget(url: str, tmp_path: Path) -> None:
    with Catalog.open(url) as catalog:
        catalog.add(tubes(400))
    command = [sys.executable, "-c", DRIVER, url, str(tmp_path / "clock")]
    drivers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for driver in drivers:  # all of them, before the first may begin
        assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write("go\n")
        driver.stdin.flush()
    told = [driver.communicate(timeout=120)[0].splitlines() for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0]
    lines = [line for lines in told for line in lines]
    assert len({line.split()[1] for line in lines}) == len(lines)  # none was granted twice
    by_identity = Counter(line.split()[0] for line in lines)
    assert VIDEOS_PER_HOUR - 2 <= by_identity["a"] <= VIDEOS_PER_HOUR
    assert 6 <= by_identity["b"] <= 7
    assert sum(bool(lines) for lines in told) > 1
