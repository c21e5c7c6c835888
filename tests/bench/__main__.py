"""What mien costs, beside the bare kernels; how busy it keeps the machine; how its memory goes.

    python -m tests.bench                          # all of it, some 15 minutes of an idle machine
    python -m tests.bench cost steady --seconds 120
    python -m tests.bench many --json bench.json

`make bench` is the first of these. CPU seconds are compared, not the clock: they hold on a busy machine too.
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
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (all)")
    parser.add_argument("--seconds", type=float, default=600.0, help="of film for cost and steady")
    parser.add_argument("--hour-seconds", type=float, default=3600.0, help="of film for hour")
    parser.add_argument("--count", type=int, default=2000, help="of files for many")
    parser.add_argument("--files", type=int, default=400, help="for http")
    parser.add_argument("--workers", type=int, default=PLAIN_DOWNLOADS, help="of fetch for http")
    parser.add_argument("--video2dataset", type=Path, help="its python, to compare with in http")
    parser.add_argument("--media", type=Path, help="folder of clips to make the films of")
    parser.add_argument("--json", type=Path, help="write every figure here, too")
    arguments = parser.parse_args()
    chosen = arguments.sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; the sections are {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as folder:
        found = measure(chosen, Path(folder), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def measure(chosen: list[str], folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from tests.bench import cost, http, stalls, volume
    from tests.bench.film import talk_film

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
        print("── engine: five stages that do nothing", flush=True)
        subprocess.run([sys.executable, "-m", "tests.bench.engine"], check=True)
    if "stalls" in chosen:
        found["stalls"] = stalls.measure(folder)
        stalls.show(found["stalls"])
    if "decode" in chosen:
        print("── decode: CPU seconds per video-second", flush=True)
        film = talk_film(folder, 60.0, media=arguments.media)
        subprocess.run([sys.executable, "-m", "tests.bench.decode", str(film.path)], check=True)
    return found


if __name__ == "__main__":
    main()
