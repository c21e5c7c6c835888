"""webdataset with its own pipeline and decoders (Pillow). Workers make the batches, as documented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien.models.benchmarks.columns import BATCH, SINGLE
from mien.models.benchmarks.peer_decoding import collator, decode_sound, decoder


def open_epochs(folder: Path, task: str, workers: int, *, lean: bool) -> Any:
    import webdataset as wds

    tars = sorted(str(tar) for tar in (folder / "shards").glob("*.tar"))
    dataset = wds.WebDataset(tars, shardshuffle=False, empty_check=False)
    collate = list if task in SINGLE else collator(lean=lean)
    if task in ("light", "all") and not lean:
        dataset = dataset.decode("rgb8", _flac, only=_LIGHT if task == "light" else None).map(_taken(task))
    else:
        dataset = dataset.map(_decoded(task, lean))
    dataset = dataset.batched(BATCH if task not in SINGLE else 1, collation_fn=collate, partial=True)
    if workers:
        return wds.WebLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=True)
    return dataset


_LIGHT = ["json", "txt", "flac"]


def _without_names(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: data for name, data in sample.items() if not name.startswith("__")}


def _flac(name: str, data: bytes) -> Any:
    """Decodes sound with soundfile: webdataset's own handler needs torchaudio."""
    return decode_sound(data) if name.endswith(".flac") else None


def _taken(task: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def take(sample: dict[str, Any]) -> dict[str, Any]:
        if task == "light":
            return {name: sample[name] for name in _LIGHT}
        found = _without_names(sample)
        strip = found.pop("faces.jpg")
        return {**found, "faces": strip.reshape(-1, strip.shape[1], strip.shape[1], 3)}

    return take


def _decoded(task: str, lean: bool) -> Callable[[dict[str, Any]], dict[str, Any]]:
    decode = decoder(task, lean=lean)
    return lambda sample: decode(_without_names(sample))
