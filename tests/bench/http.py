"""Section `http`: files behind plain addresses, with the web's usual share of failures, into proven media.

    python -m tests.bench http [--files 400] [--workers 4] [--video2dataset /path/to/its/python]

The same server, film and files for everybody: a loop that transfers, hashes and probes, alone and as many at
once as the command has workers (a core's second does less while its neighbours work as well); the stage
`fetch`; the whole command (`mien add`, `mien run --only fetch`); and video2dataset, from its own environment.
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

from mien.ingest.catalog import Catalog
from mien.ingest.ffmpeg import find_ffmpeg
from tests.bench.at_once import told_at_once
from tests.bench.http_server import kind, tail
from tests.bench.report import Table, about
from tests.bench.tree import measure
from tests.runs import MIEN

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = {
    "film": "",
    "busy": "",
    "missing": "GoneError",
    "page": "NotMediaError",
    "cut": "TruncatedMediaError",
}
FILM_BYTES = 4_000_000
BARE_AT_ONCE = "bare, at once"
ONE = 50
"""Of the files that are as they should be."""


def measure_http(folder: Path, *, count: int, workers: int, video2dataset: Path | None) -> dict[str, Any]:
    film = noisy_film(folder / "film.mp4")
    print(about(f"http: {count} files of {film.stat().st_size / 1e6:.1f} MB from loopback"), flush=True)
    good = sum(kind(number) in ("film", "busy") for number in range(count))
    found: dict[str, Any] = {"count": count, "good": good, "film_bytes": film.stat().st_size}
    for name, of, at_once in (("bare", "bare", 1), (BARE_AT_ONCE, "bare", workers), ("stage", "stage", 1)):
        with serving(film, count) as port:
            found[name] = _alone(of, port, count, [folder / f"{name}-{n}" for n in range(at_once)])
    with serving(film, count) as port:
        start = _mien(folder / "start", port, [ONE], workers)
        found["mien"] = {"workers": workers, **_mien(folder / "mien", port, list(range(count)), workers)}
    found["mien less its start"] = {
        "proven": found["mien"]["proven"],
        **{name: found["mien"][name] - start[name] for name in ("seconds", "cpu_seconds")},
    }
    if video2dataset is not None:
        with serving(film, count) as port:
            found["video2dataset"] = _video2dataset(folder / "v2d", port, count, video2dataset, film)
    return found


def show(found: dict[str, Any]) -> None:
    good, mien, bare = found["good"], found["mien"], found["bare"]
    table = Table("", "proven", "seconds", "videos/s", "CPU ms/video", "÷ bare", "÷ bare, at once")
    each, each_at_once = (one["cpu_seconds"] / one["proven"] for one in (bare, found[BARE_AT_ONCE]))
    names = [name for name, one in found.items() if isinstance(one, dict)]
    for name in names:
        one = found[name]
        cpu = one["cpu_seconds"] / max(1, one["proven"])
        table.row(
            name,
            str(one["proven"]),
            f"{one['seconds']:.1f}",
            f"{one['proven'] / one['seconds']:.1f}",
            f"{cpu * 1000:.1f}",
            f"{cpu / each:.2f}",
            f"{cpu / each_at_once:.2f}",
        )
    table.show()
    print(f"  {good} files can be proven; `bare, at once` is {mien['workers']} processes, each for all files")
    print("  CPU of `mien less its start` ÷ bare: reach ≤ 1.3")
    print(f"  mien: {mien['right']} of {found['count']} outcomes right; {mien['workers']} workers of fetch;")
    print(f"  first to last file {mien['span_seconds']:.1f} s: {mien['proven'] / mien['span_seconds']:.1f}/s")
    if "video2dataset" in found:
        other = found["video2dataset"]
        ratio = mien["proven"] / mien["seconds"] / (other["proven"] / other["seconds"])
        print(f"  video2dataset: {other['right']} right, {other['false']} failures stored as successes;")
        print(f"  mien ÷ video2dataset, proven videos/s of the whole command: {ratio:.2f} (reach ≥ 1.5)")


@contextmanager
def serving(film: Path, count: int) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.http_server", str(film), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def noisy_film(path: Path) -> Path:
    """Ten seconds that take `FILM_BYTES`, with the index in front, as the web has it."""
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


def _alone(name: str, port: int, count: int, folders: list[Path]) -> dict[str, Any]:
    """A process for each folder, all at once; each asks for every file."""
    command = [sys.executable, "-m", "tests.bench.http_alone", name, str(port), str(count)]
    told = told_at_once([[*command, str(folder)] for folder in folders])
    return {
        "proven": sum(one["proven"] for one in told),
        "seconds": max(one["seconds"] for one in told),
        "cpu_seconds": sum(one["cpu_seconds"] for one in told),
    }


def _mien(folder: Path, port: int, numbers: list[int], workers: int) -> dict[str, Any]:
    folder.mkdir()
    (folder / "list.txt").write_text("".join(f"{address(port, number)}\n" for number in numbers))
    environment = {"MIEN_STORE__ROOT": str(folder / "store"), "PYTHONPATH": str(ROOT)}
    flags = ("--set", "fetch.allow_private_addresses=true", "--set", f"engine.workers.fetch={workers}")
    add = measure([*MIEN, "add", str(folder / "list.txt")], environment=environment)
    run = measure([*MIEN, "run", "--only", "fetch", *flags], environment=environment)
    right, proven, times = 0, 0, []
    with Catalog.open(f"sqlite:///{folder}/store/catalog.sqlite") as catalog:
        for number in numbers:
            story = catalog.explain(address(port, number))
            assert story is not None
            got = story.error_class or ("" if story.media is not None else "nothing")
            right += got == OUTCOMES[kind(number)]
            proven += not got
            times += [event.at for event in story.events if event.what in ("claimed", "failed")]
            times += [story.events[-1].at]
    return {
        "add_seconds": add.wall_seconds,
        "seconds": add.wall_seconds + run.wall_seconds,
        "cpu_seconds": add.cpu_seconds + run.cpu_seconds,
        "driver_cpu_seconds": run.by_role["driver"],
        "span_seconds": max(times) - min(times),
        "peak_bytes": run.peak_bytes,
        "right": right,
        "proven": proven,
    }


def _video2dataset(folder: Path, port: int, count: int, python: Path, film: Path) -> dict[str, Any]:
    """With as many processes as cores and the threads of its own default configuration."""
    folder.mkdir()
    (folder / "list.csv").write_text("url\n" + "".join(f"{address(port, n)}\n" for n in range(count)))
    began = time.time()
    # -P: not everything beside the script is for its import.
    command = [
        str(python),
        "-P",
        str(ROOT / "tests/bench/peer.py"),
        str(folder / "list.csv"),
        str(folder / "out"),
    ]
    used = measure([*command, str(os.cpu_count() or 1)], environment={"WANDB_MODE": "disabled"})
    seconds = time.time() - began
    counts: Counter[str] = Counter()
    whole_bytes = film.stat().st_size + len(tail(0))
    for report in (folder / "out").rglob("*.json"):
        told = json.loads(report.read_text())
        if "url" not in told:
            continue
        number = int(Path(told["url"]).stem)
        good = kind(number) in ("film", "busy")
        stored = report.with_suffix(".mp4")
        kept = stored.exists() and told.get("status") == "success"
        intact = good and kept and stored.stat().st_size == whole_bytes
        counts["right" if intact or not (good or kept) else "false" if kept else "lost"] += 1
        counts["proven"] += intact
    # What it leaves no report of is a failure, and where the file is of no use that is right.
    unseen = count - counts["right"] - counts["false"] - counts["lost"]
    bad = sum(kind(number) not in ("film", "busy") for number in range(count))
    return {
        "seconds": seconds,
        "cpu_seconds": used.cpu_seconds,
        "proven": counts["proven"],
        "right": counts["right"] + min(unseen, bad - counts["false"]),
        "false": counts["false"],
    }
