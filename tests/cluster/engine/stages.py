"""Stages that follow the orders of their items, and an observer that records everything."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mien.cluster.engine import ErrorInfo, PoolSpec, Snapshot
from mien.ingest.errors import CorruptMediaError, ProviderError, StorageFullError
from mien.pipelines.stage import AggregatingStage, DeadlineRule, Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    key: str
    orders: dict[str, str] = field(default_factory=dict)
    """The order for each stage, by its name."""
    stages: tuple[str, ...] = ()
    """Names of the stages that it has passed."""
    body: bytes = b""
    final: bool = False
    folder: str = ""

    @property
    def seconds(self) -> float:
        return 1.0

    @property
    def nbytes(self) -> int:
        return len(self.body) + 100

    def first_time(self, stage: str) -> bool:
        """True once for each parcel and stage, across all processes."""
        try:
            (Path(self.folder) / f"{stage}-{self.key}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def log(self, stage: str) -> None:
        """Adds a line to the log that `logged` reads. Small appends of several processes do not mix."""
        if self.folder:
            with (Path(self.folder) / f"{stage}.log").open("a") as file:
                file.write(f"{self.key}\n")


def logged(folder: Path, stage: str) -> list[str]:
    """Keys of the parcels that have a folder, in the order in which `stage` began each attempt."""
    return (folder / f"{stage}.log").read_text().split()


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("a lock cannot be pickled")


_ERRORS: dict[str, BaseException] = {
    "raise": CorruptMediaError("the moof box is missing"),
    "stumble": ValueError("shapes (3,) and (4,)\ndo not match"),
    "exit": SystemExit(3),
    "full": StorageFullError("no space left on the store; free some"),
    "provider": ProviderError("CUDA was asked for and the session runs on the CPU"),
}


def obey(order: str, parcel: Parcel, stage: str) -> None:
    if order.endswith(" once"):
        if not parcel.first_time(stage):
            return
        order = order.removesuffix(" once")
    what, _, amount = order.partition(" ")
    if what in ("sleep", "hang"):
        time.sleep(float(amount or 1000))
    elif what in _ERRORS:
        raise _ERRORS[what]
    elif what in _ACTIONS:
        _ACTIONS[what](parcel)


def _wait_at_gate(parcel: Parcel) -> None:
    while not (Path(parcel.folder) / "open").exists():
        time.sleep(0.01)


def _use_up_memory(_: Parcel) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))


def _leave_orphan(_: Parcel) -> None:
    if os.fork() == 0:  # it keeps the files of its parent open
        time.sleep(30)
        os._exit(0)
    os.kill(os.getpid(), 9)


def _start_child(parcel: Parcel) -> None:
    child = subprocess.Popen(["sleep", "1000"])
    (Path(parcel.folder or tempfile.mkdtemp()) / "child").write_text(str(child.pid))
    time.sleep(1000)


_ACTIONS: dict[str, Callable[[Parcel], object]] = {
    "gate": _wait_at_gate,
    "hang-in-c": lambda _: ctypes.PyDLL(None).sleep(1000),  # does not release the interpreter lock
    "die": lambda _: os._exit(9),
    "kill": lambda _: os.kill(os.getpid(), 9),
    "exhaust": _use_up_memory,
    "orphan": _leave_orphan,
    "chat": lambda _: print("output of a worker", flush=True),
    "child": _start_child,
}


class Obey(Stage):
    def __init__(self, name: str, *, setup: str = "") -> None:
        self.name = name
        self._setup = setup

    def setup(self, context: StageContext) -> None:
        obey(self._setup, Parcel(key="setup"), self.name)

    def __call__(self, parcel: Parcel) -> Iterable[Any]:
        parcel.log(self.name)
        order = parcel.orders.get(self.name, "")
        if order == "drop":
            return
        if order == "unpicklable":
            yield replace(parcel, orders={"x": Unpicklable()})  # type: ignore[dict-item]
            return
        if order == "twice":
            for twin in "ab":
                yield replace(parcel, key=parcel.key + twin, stages=(*parcel.stages, self.name))
            return
        obey(order, parcel, self.name)
        yield replace(parcel, stages=(*parcel.stages, self.name), final=order == "final")


class Threads(Obey):
    """Puts the thread limit of its libraries into the key."""

    def __call__(self, parcel: Parcel) -> Iterable[Any]:
        yield replace(parcel, key=os.environ["OMP_NUM_THREADS"] + os.environ["OPENBLAS_NUM_THREADS"])


class StartEnvironment(Obey):
    """Puts the value that `variable` had when its process started into the key."""

    variable = "MIEN_TEST_START"

    def __call__(self, parcel: Parcel) -> Iterable[Any]:
        at_start = Path("/proc/self/environ").read_bytes().decode().split("\0")
        found = [line.partition("=")[2] for line in at_start if line.startswith(f"{self.variable}=")]
        yield replace(parcel, key=f"{parcel.key} {self.name}:{','.join(found)}")


class Closing(Obey):
    """Creates a file in `folder` when it is closed, after obeying `order`."""

    def __init__(self, name: str, folder: Path, *, order: str = "") -> None:
        super().__init__(name)
        self._folder, self._order = folder, order

    def close(self) -> None:
        obey(self._order, Parcel(key="close"), self.name)
        (self._folder / f"{self.name}-{os.getpid()}").touch()


class NodeId(Obey):
    """Puts the id of its Ray node into the key."""

    def __call__(self, parcel: Parcel) -> Iterable[Any]:
        import ray

        yield replace(parcel, key=ray.get_runtime_context().get_node_id())


class Split(Obey):
    """A fan-out. The order "3: hang" applies before the child with that number."""

    fans_out = True

    def __init__(self, name: str = "split", *, count: int = 6, body: int = 0) -> None:
        super().__init__(name)
        self._count = count
        self._body = body

    def __call__(self, parcel: Parcel) -> Iterator[Parcel]:
        at, _, order = parcel.orders.get(self.name, "").partition(": ")
        for number in range(self._count):
            if at == str(number):
                obey(order, parcel, self.name)
            yield replace(parcel, key=f"{parcel.key}-{number}", body=bytes(self._body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    key: str
    acknowledges: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return 1.0 * len(self.acknowledges)

    @property
    def nbytes(self) -> int:
        return 100


class Aggregate(Obey, AggregatingStage):
    def __init__(self, name: str = "aggregate", *, size: int = 5, setup: str = "") -> None:
        super().__init__(name, setup=setup)
        self._size = size
        self._keys: list[str] = []

    def __call__(self, parcel: Parcel) -> Iterator[Box]:
        obey(parcel.orders.get(self.name, ""), parcel, self.name)
        self._keys.append(parcel.key)
        if len(self._keys) == self._size:
            yield from self.flush()

    def flush(self) -> Iterator[Box]:
        if self._keys:
            keys, self._keys = tuple(self._keys), []
            yield Box(key=f"box-{keys[0]}-{time.time_ns()}", acknowledges=keys)


class Recorder:
    """An observer that records all calls. A test may set `on_tick` and `on_finished`."""

    def __init__(self, parcels: Iterable[Parcel]) -> None:
        self._parcels = iter(parcels)
        self.finished_items: list[Any] = []
        self.failures: dict[str, tuple[str, ErrorInfo]] = {}
        self.exhaustions: dict[str, int] = {}
        self.reports: list[tuple[str, Any]] = []
        self.lost_keys: list[str] = []
        self.snapshots: list[Snapshot] = []
        self.on_tick: Callable[[Snapshot], None] = lambda snapshot: None
        self.on_finished: Callable[[Any], None] = lambda item: None

    def next_inputs(self, limit: int) -> list[Parcel] | None:
        taken = [parcel for _, parcel in zip(range(limit), self._parcels, strict=False)]
        return taken or None

    def finished(self, item: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.finished_items.append(item)
        self.on_finished(item)

    def exhausted(self, key: str, count: int) -> None:
        self.exhaustions[key] = count

    def reported(self, stage: str, item: Any) -> bool | None:
        self.reports.append((stage, item))
        return None

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None:
        assert key not in self.failures
        self.failures[key] = (stage, error)

    def lost(self, key: str) -> None:
        self.lost_keys.append(key)

    def tick(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self.on_tick(snapshot)

    @property
    def keys(self) -> list[str]:
        return sorted(item.key for item in self.finished_items)

    @property
    def boxed(self) -> Counter[str]:
        return Counter(key for box in self.finished_items for key in box.acknowledges)

    @property
    def error_classes(self) -> dict[str, str]:
        return {key: error.error_class for key, (_, error) in self.failures.items()}


def pool(
    stage: Stage,
    *,
    workers: int = 1,
    deadline: float = 20.0,
    reports_outputs: bool = False,
    **more: Any,
) -> PoolSpec:
    stage.reports_outputs = reports_outputs
    rule = DeadlineRule(base=deadline, per_second=0.0)
    return PoolSpec(stage=stage, workers=workers, cpus=0.1, deadline=rule, **more)


def parcels(count: int, *, body: int = 0, **orders: dict[int, str]) -> list[Parcel]:
    """`parcels(9, b={3: "die"})`: nine parcels; the fourth one dies in stage b."""
    return [
        Parcel(
            key=f"p{number:03d}",
            body=bytes(body),
            orders={stage: by_number[number] for stage, by_number in orders.items() if number in by_number},
        )
        for number in range(count)
    ]
