"""What a sample costs to read, by this reader and by others, from the same samples in one run.

    python -m tests.bench.reader                                  # 1,024 samples, 3 rounds: some 40 minutes
    python -m tests.bench.reader raw light --samples 256 --rounds 5
    python -m tests.bench.reader --peers PEERS/bin/python         # with mosaicml-streaming, litdata, energon

`make bench-reader` is the last of these: it installs the peers in an environment of their own, since they
want other versions of torch and numpy than mien. CPU per sample is compared, not the clock: that holds on a
busy machine too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.reader.columns import COLUMNS
from tests.bench.reader.contenders import CONTENDERS
from tests.bench.reader.rounds import measure
from tests.bench.reader.samples import make_samples
from tests.bench.reader.scale import measure_scale, show_scale
from tests.bench.reader.show import show
from tests.bench.report import about

SCALE = "scale"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "columns", nargs="*", metavar="COLUMN", help=f"of {', '.join((*COLUMNS, SCALE))} (all)"
    )
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, at least")
    parser.add_argument("--peers", help="the Python that has the peers' packages")
    parser.add_argument("--reader", action="append", default=[], help=f"of {', '.join(CONTENDERS)} (all)")
    parser.add_argument("--folder", type=Path, help="where the samples are kept (the temporary folder)")
    parser.add_argument("--json", type=Path, help="write every figure here, too")
    arguments = parser.parse_args()
    if unknown := set(arguments.columns) - {*COLUMNS, SCALE} or set(arguments.reader) - set(CONTENDERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}: see --help")
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
        readers=arguments.reader or list(CONTENDERS),
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
