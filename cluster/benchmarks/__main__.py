"""Measures the pipeline and the engine: CPU time compared with the bare kernels, utilisation, and memory.

    python -m mien.cluster.benchmarks                   # all sections; about 15 minutes on an idle machine
    python -m mien.cluster.benchmarks cost steady --seconds 120
    python -m mien.cluster.benchmarks many --json bench.json

`make bench` runs all sections. The figures are CPU seconds, which vary less on a busy machine than wall time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mien.cluster.runner.run import PLAIN_DOWNLOADS

SECTIONS = ("cost", "steady", "hour", "many", "http", "engine", "stalls", "decode")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"any of {', '.join(SECTIONS)} (default: all)"
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="length of the film for cost and steady")
    parser.add_argument("--hour-seconds", type=float, default=3600.0, help="length of the film for hour")
    parser.add_argument("--count", type=int, default=2000, help="number of files for many")
    parser.add_argument("--files", type=int, default=400, help="number of files for http")
    parser.add_argument("--workers", type=int, default=PLAIN_DOWNLOADS, help="fetch workers for http")
    parser.add_argument("--video2dataset", type=Path, help="its Python, for a comparison in http")
    parser.add_argument("--media", type=Path, help="folder of clips that the films are made from")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    chosen = arguments.sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; the sections are {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as folder:
        found = measure(chosen, Path(folder), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def measure(chosen: list[str], folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from mien.cluster.benchmarks import cost, http, stalls, volume
    from mien.cluster.benchmarks.films import talk_film

    found: dict[str, Any] = {}
    if "cost" in chosen or "steady" in chosen:
        found["cost"] = cost.measure(folder, seconds=arguments.seconds, media=arguments.media)
        if "cost" in chosen:
            cost.show(found["cost"])
        cost.show_steady(found["cost"])
    if "hour" in chosen:
        found["hour"] = volume.hour(folder, seconds=arguments.hour_seconds, media=arguments.media)
        volume.show(found["hour"], "segment")
    if "many" in chosen:
        found["many"] = volume.many(folder, count=arguments.count, media=arguments.media)
        volume.show(found["many"], "video")
    if "http" in chosen:
        found["http"] = http.measure_http(
            folder,
            count=arguments.files,
            workers=arguments.workers,
            video2dataset=arguments.video2dataset,
        )
        http.show(found["http"])
    if "engine" in chosen:
        print("── engine: five empty stages", flush=True)
        subprocess.run([sys.executable, "-m", "mien.cluster.benchmarks.engine"], check=True)
    if "stalls" in chosen:
        found["stalls"] = stalls.measure(folder)
        stalls.show(found["stalls"])
    if "decode" in chosen:
        print("── decode: CPU seconds per video-second", flush=True)
        film = talk_film(folder, 60.0, media=arguments.media)
        subprocess.run([sys.executable, "-m", "mien.cluster.benchmarks.decode", str(film.path)], check=True)
    return found


if __name__ == "__main__":
    main()
