"""Section `http`: downloads files over HTTP, with the web's usual share of failures, and validates them.

    python -m mien.cluster.benchmarks http [--files 400] [--workers 4] [--video2dataset /path/to/its/python]

All contenders download the same files from the same server:

- `bare`: a loop that transfers, hashes and probes, in one process
- `bare, parallel`: the same loop in as many processes as the command has workers, because busy neighbour
  cores make a core slower
- `stage`: the stage `fetch`
- `mien`: the whole command (`mien add`, `mien run --only fetch`)
- `video2dataset`: from its own environment
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ffmpeg

from mien.cluster.benchmarks.http_server import kind, tail
from mien.cluster.benchmarks.processes import measure, run_parallel
from mien.ingest.catalog import Catalog
from mien.ingest.ffmpeg import find_ffmpeg
from mien.models.benchmarks.report import Table, about

MIEN = [sys.executable, "-c", "from mien.cluster.cli import main; main()"]
OUTCOMES = {
    "film": "",
    "busy": "",
    "missing": "GoneError",
    "page": "NotMediaError",
    "cut": "TruncatedMediaError",
}
FILM_BYTES = 4_000_000
BARE_PARALLEL = "bare, parallel"
GOOD_FILE = 50
"""The number of a file without a failure."""


def measure_http(folder: Path, *, count: int, workers: int, video2dataset: Path | None) -> dict[str, Any]:
    film = noisy_film(folder / "film.mp4")
    print(about(f"http: {count} files of {film.stat().st_size / 1e6:.1f} MB from loopback"), flush=True)
    good = sum(kind(number) in ("film", "busy") for number in range(count))
    found: dict[str, Any] = {"count": count, "good": good, "film_bytes": film.stat().st_size}
    for name, loop, processes in (
        ("bare", "bare", 1),
        (BARE_PARALLEL, "bare", workers),
        ("stage", "stage", 1),
    ):
        with serving(film, count) as port:
            found[name] = _run_baseline(loop, port, count, [folder / f"{name}-{n}" for n in range(processes)])
    with serving(film, count) as port:
        start = _mien(folder / "start", port, [GOOD_FILE], workers)
        found["mien"] = {"workers": workers, **_mien(folder / "mien", port, list(range(count)), workers)}
    found["mien without start"] = {
        "validated": found["mien"]["validated"],
        **{name: found["mien"][name] - start[name] for name in ("seconds", "cpu_seconds")},
    }
    if video2dataset is not None:
        with serving(film, count) as port:
            found["video2dataset"] = _video2dataset(folder / "v2d", port, count, video2dataset, film)
    return found


def show(found: dict[str, Any]) -> None:
    good, mien, bare = found["good"], found["mien"], found["bare"]
    table = Table("", "validated", "seconds", "videos/s", "CPU ms/video", "÷ bare", "÷ bare, parallel")
    each, each_parallel = (one["cpu_seconds"] / one["validated"] for one in (bare, found[BARE_PARALLEL]))
    names = [name for name, one in found.items() if isinstance(one, dict)]
    for name in names:
        one = found[name]
        cpu = one["cpu_seconds"] / max(1, one["validated"])
        table.row(
            name,
            str(one["validated"]),
            f"{one['seconds']:.1f}",
            f"{one['validated'] / one['seconds']:.1f}",
            f"{cpu * 1000:.1f}",
            f"{cpu / each:.2f}",
            f"{cpu / each_parallel:.2f}",
        )
    table.show()
    print(
        f"  {good} files are valid; `bare, parallel`: {mien['workers']} processes, each downloads all files"
    )
    print("  CPU of `mien without start` ÷ bare: target ≤ 1.3")
    print(f"  mien: {mien['right']} of {found['count']} outcomes correct; {mien['workers']} fetch workers;")
    print(
        f"  first to last file {mien['span_seconds']:.1f} s: {mien['validated'] / mien['span_seconds']:.1f}/s"
    )
    if "video2dataset" in found:
        other = found["video2dataset"]
        ratio = mien["validated"] / mien["seconds"] / (other["validated"] / other["seconds"])
        print(f"  video2dataset: {other['right']} correct, {other['false']} failures stored as successes;")
        print(f"  mien ÷ video2dataset, validated videos/s of the whole command: {ratio:.2f} (target ≥ 1.5)")


@contextmanager
def serving(film: Path, count: int) -> Iterator[int]:
    command = [sys.executable, "-m", "mien.cluster.benchmarks.http_server", str(film), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def noisy_film(path: Path) -> Path:
    """A film of ten seconds and FILM_BYTES bytes, with the index at the front, as on the web."""
    seconds, sound = 10, 64_000
    picture = ffmpeg.input("testsrc2=size=640x360:rate=25", f="lavfi", t=seconds).filter(
        "noise", alls=40, allf="t"
    )
    tone = ffmpeg.input("sine=frequency=300", f="lavfi", t=seconds)
    rate = int(FILM_BYTES * 8 / seconds - sound)
    options = {"b:v": rate, "maxrate": rate, "bufsize": rate, "b:a": sound, "movflags": "+faststart"}
    film = ffmpeg.output(
        picture, tone, str(path), vcodec="libx264", acodec="aac", preset="ultrafast", **options
    )
    film.run(cmd=find_ffmpeg(), quiet=True)
    return path


def address(port: int, number: int) -> str:
    return f"http://127.0.0.1:{port}/{number}.mp4"


def _run_baseline(name: str, port: int, count: int, folders: list[Path]) -> dict[str, Any]:
    """Starts one process per folder at the same time. Each downloads all files."""
    command = [sys.executable, "-m", "mien.cluster.benchmarks.http_baseline", name, str(port), str(count)]
    results = run_parallel([[*command, str(folder)] for folder in folders])
    return {
        "validated": sum(one["validated"] for one in results),
        "seconds": max(one["seconds"] for one in results),
        "cpu_seconds": sum(one["cpu_seconds"] for one in results),
    }


def _mien(folder: Path, port: int, numbers: list[int], workers: int) -> dict[str, Any]:
    folder.mkdir()
    (folder / "list.txt").write_text("".join(f"{address(port, number)}\n" for number in numbers))
    environment = {"MIEN_STORE__ROOT": str(folder / "store")}
    flags = ("--set", "fetch.allow_private_addresses=true", "--set", f"engine.workers.fetch={workers}")
    add = measure([*MIEN, "add", str(folder / "list.txt")], environment=environment)
    run = measure([*MIEN, "run", "--only", "fetch", *flags], environment=environment)
    right, validated, times = 0, 0, []
    with Catalog.open(f"sqlite:///{folder}/store/catalog.sqlite") as catalog:
        for number in numbers:
            history = catalog.explain(address(port, number))
            assert history is not None
            outcome = history.error_class or ("" if history.media is not None else "nothing")
            right += outcome == OUTCOMES[kind(number)]
            validated += not outcome
            times += [event.at for event in history.events if event.what in ("claimed", "failed")]
            times += [history.events[-1].at]
    return {
        "add_seconds": add.wall_seconds,
        "seconds": add.wall_seconds + run.wall_seconds,
        "cpu_seconds": add.cpu_seconds + run.cpu_seconds,
        "driver_cpu_seconds": run.by_role["driver"],
        "span_seconds": max(times) - min(times),
        "peak_bytes": run.peak_bytes,
        "right": right,
        "validated": validated,
    }


def _video2dataset(folder: Path, port: int, count: int, python: Path, film: Path) -> dict[str, Any]:
    """Uses one process per core, and the thread count of its default configuration."""
    folder.mkdir()
    (folder / "list.csv").write_text("url\n" + "".join(f"{address(port, n)}\n" for n in range(count)))
    began = time.time()
    # -P: do not let the script import the files beside it.
    command = [
        str(python),
        "-P",
        str(Path(__file__).resolve().with_name("video2dataset_peer.py")),
        str(folder / "list.csv"),
        str(folder / "out"),
    ]
    used = measure([*command, str(os.cpu_count() or 1)], environment={"WANDB_MODE": "disabled"})
    seconds = time.time() - began
    counts: Counter[str] = Counter()
    whole_bytes = film.stat().st_size + len(tail(0))
    for report in (folder / "out").rglob("*.json"):
        facts = json.loads(report.read_text())
        if "url" not in facts:
            continue
        number = int(Path(facts["url"]).stem)
        good = kind(number) in ("film", "busy")
        stored = report.with_suffix(".mp4")
        success = stored.exists() and facts.get("status") == "success"
        intact = good and success and stored.stat().st_size == whole_bytes
        counts["right" if intact or not (good or success) else "false" if success else "lost"] += 1
        counts["validated"] += intact
    # A file without a report is a failure. That is the correct outcome if the file is invalid.
    unseen = count - counts["right"] - counts["false"] - counts["lost"]
    bad = sum(kind(number) not in ("film", "busy") for number in range(count))
    return {
        "seconds": seconds,
        "cpu_seconds": used.cpu_seconds,
        "validated": counts["validated"],
        "right": counts["right"] + min(unseen, bad - counts["false"]),
        "false": counts["false"],
    }
