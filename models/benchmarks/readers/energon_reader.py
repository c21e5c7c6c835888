"""megatron-energon, on hard links to the same tars. It stores an index of its own beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mien.models.benchmarks.columns import BATCH, SINGLE
from mien.models.benchmarks.peer_decoding import collator, decoder


def open_epochs(folder: Path, task: str, workers: int, *, lean: bool) -> Any:
    from megatron import energon

    decode = decoder(task, lean=lean)
    collate = list if task in SINGLE else collator(lean=lean)

    def cook(sample: dict[str, Any]) -> dict[str, Any]:
        return {name: data for name, data in sample.items() if not name.startswith("__")}

    class Encoder(energon.DefaultTaskEncoder):  # type: ignore[misc]
        decoder = None
        cookers = (energon.Cooker(energon.stateless(cook)),)

        @energon.stateless  # type: ignore[untyped-decorator]
        def encode_sample(self, sample: dict[str, Any]) -> Any:
            return decode(sample)

        def batch(self, samples: list[Any]) -> Any:
            return collate(samples)

        def encode_batch(self, batch: Any) -> Any:
            return batch

    dataset = energon.get_val_dataset(
        _prepared(folder),
        split_part="train",
        worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=workers),
        batch_size=1 if task in SINGLE else BATCH,
        task_encoder=Encoder(),
    )
    return energon.get_loader(dataset)


def _prepared(folder: Path) -> Path:
    into = folder / "energon"
    if not (into / ".nv-meta" / "dataset.yaml").is_file():
        into.mkdir(exist_ok=True)
        for tar in (folder / "shards").glob("*.tar"):
            if not (into / tar.name).exists():
                os.link(tar, into / tar.name)
        command = [
            str(Path(sys.executable).with_name("energon")), "prepare", str(into), "--non-interactive",
            "--split-ratio", "1,0,0", "--sample-type", "CrudeWebdataset", "--force-overwrite",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    return into
