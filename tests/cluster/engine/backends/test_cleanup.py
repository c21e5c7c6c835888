"""A driver in its own process: what is left after it ends, and what it prints."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[4]

DRIVER = """
import signal, sys
from mien.cluster.engine import Engine, ProcessBackend, RayBackend
from tests.cluster.engine.stages import Aggregate, Obey, Recorder, Split, parcels, pool

observer = Recorder(parcels({count}, a={orders}))
pools = [pool(Obey("a"), deadline={deadline}), pool(Aggregate(size=3))]
engine = Engine(pools, observer, backend={backend})
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: engine.stop())
observer.on_finished = lambda box: print("box", flush=True)
engine.run()
print(len(observer.boxed), sorted(observer.error_classes.values()))
"""

BACKENDS = {"ray": "RayBackend()", "processes": "ProcessBackend([pool.stage for pool in pools], cpus=8)"}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return BACKENDS[request.param]


def start(folder: Path, backend: str, count: int, orders: str, deadline: float = 60) -> subprocess.Popen[str]:
    program = DRIVER.format(backend=backend, count=count, orders=orders, deadline=deadline)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder), "MARK": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="m", dir="/tmp") as created:  # sockets need short paths
        yield Path(created)


def leftovers(folder: Path) -> list[str]:
    """Processes that have a file below `folder` open, or have it in their environment."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            links = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
            environment = process.environ()
        except (OSError, psutil.Error):
            continue
        if environment.get("MARK") == str(folder) or any(str(folder) in link for link in links):
            found.append(f"{process.pid} {process.info['name']}")
    return found


def wait_until_clean(folder: Path) -> None:
    for _ in range(600):
        if not leftovers(folder) and not list(folder.glob("mien-*")):
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {leftovers(folder)} {list(folder.iterdir())}")


def test_killed_driver_leaves_nothing(folder: Path, backend: str) -> None:
    driver = start(folder, backend, 10_000, 'dict.fromkeys(range(10_000), "sleep 0.01") | {9: "child"}')
    assert driver.stdout is not None
    assert driver.stdout.readline() == "box\n"
    assert leftovers(folder)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until_clean(folder)


def test_run_with_deaths_prints_and_leaves_nothing(folder: Path, backend: str) -> None:
    driver = start(folder, backend, 9, '{2: "kill", 4: "hang", 5: "stumble", 6: "unpicklable"}', deadline=1)
    out, err = driver.communicate(timeout=300)
    assert out.splitlines()[-1] == (
        "5 ['DeadlineExceededError', 'UnexpectedError', 'UnexpectedError', 'WorkerDiedError']"
    )
    assert set(out.splitlines()[:-1]) == {"box"}
    assert err == ""
    wait_until_clean(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_run_gracefully(folder: Path, backend: str, number: signal.Signals) -> None:
    """SIGINT goes to the whole process group, as from a terminal."""
    driver = start(folder, backend, 10_000, 'dict.fromkeys(range(10_000), "sleep 0.05")')
    assert driver.stdout is not None
    driver.stdout.readline()
    os.killpg(driver.pid, number) if number == signal.SIGINT else driver.terminate()
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0
    assert err == ""
    assert out.splitlines()[-1].endswith(" []")
    wait_until_clean(folder)


def test_all_listeners_are_on_loopback(folder: Path, backend: str) -> None:
    driver = start(folder, backend, 10_000, 'dict.fromkeys(range(10_000), "sleep 0.05")')
    assert driver.stdout is not None
    driver.stdout.readline()
    processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    addresses = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # processes of Ray start and end at any time
            found = process.net_connections("inet")
            addresses |= {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}
    driver.kill()
    driver.wait()
    wait_until_clean(folder)
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_engine_is_imported_without_ray() -> None:
    program = "import sys, mien.cluster.engine, mien.cluster.local; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
