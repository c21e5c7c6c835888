"""Measures the CPU time per sample of this reader and of other libraries, on the same samples.

    python -m mien.models.benchmarks                              # 1,024 samples, 3 rounds: about 40 minutes
    python -m mien.models.benchmarks raw light --samples 256 --rounds 5
    python -m mien.models.benchmarks --peers PEERS/bin/python     # also mosaicml-streaming, litdata, energon

`make bench-reader` runs the last one. It installs the peers in an environment of their own, because they need
other versions of torch and numpy than mien. CPU time varies less on a busy machine than wall time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from mien.models.benchmarks.columns import COLUMNS
from mien.models.benchmarks.readers import READERS
from mien.models.benchmarks.report import about
from mien.models.benchmarks.results import show
from mien.models.benchmarks.rounds import measure
from mien.models.benchmarks.samples import make_samples
from mien.models.benchmarks.scale import measure_scale, show_scale

SCALE = "scale"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "columns", nargs="*", metavar="COLUMN", help=f"any of {', '.join((*COLUMNS, SCALE))} (default: all)"
    )
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="minimum duration of each measurement")
    parser.add_argument("--peers", help="the Python with the peers' packages")
    parser.add_argument(
        "--reader", action="append", default=[], help=f"any of {', '.join(READERS)} (default: all)"
    )
    parser.add_argument("--folder", type=Path, help="folder for the samples (default: the temporary folder)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    if unknown := set(arguments.columns) - {*COLUMNS, SCALE} or set(arguments.reader) - set(READERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; see --help")
    chosen = arguments.columns or [*COLUMNS, SCALE]
    found: dict[str, Any] = {}
    root = arguments.folder or Path(tempfile.gettempdir()) / "mien-bench-reader"
    if columns := [name for name in chosen if name != SCALE]:
        found["columns"] = _columns(root / f"samples-{arguments.samples}", columns, arguments)
    if SCALE in chosen:
        print(about("scale"), flush=True)
        found[SCALE] = measure_scale(root, shards=10_000, samples=1_000_000)
        show_scale(found[SCALE])
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _columns(folder: Path, columns: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    facts = make_samples(folder, arguments.samples)
    title = (
        f"{facts['samples']} samples of {facts['bytes_each'] / 1e3:.0f} kB, {facts['rows_each']:.0f} frames"
    )
    print(about(f"reader: {title}, in {facts['shards']} shards"), flush=True)
    results = measure(
        folder,
        columns=columns,
        readers=arguments.reader or list(READERS),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        peers=arguments.peers,
    )
    show(results)
    return {
        "samples": facts,
        **{
            column: {reader: dataclasses.asdict(one) for reader, one in by_reader.items()}
            for column, by_reader in results.items()
        },
    }


if __name__ == "__main__":
    main()
