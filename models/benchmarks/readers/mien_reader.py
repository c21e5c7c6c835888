"""mien's own reader, used as documented. It shuffles; the other readers do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.models.benchmarks.columns import BATCH, SINGLE, SMALL_PIXELS, WINDOW_ROWS
from mien.models.benchmarks.peer_decoding import decoder, touched
from mien.models.reader.fields import Collator, FacesField, Field, Window
from mien.models.reader.shard_reader import ShardReader

_FIELDS: dict[str, tuple[list[str | Field[Any]], Window | None]] = {
    "light": (["json", "text", "audio"], None),
    "all": (["faces", "audio", "text", "json", "landmarks", "speaking", "times"], None),
    "window": (["faces", "audio"], Window.of_frames(WINDOW_ROWS)),
    "small": ([FacesField(size=SMALL_PIXELS, grey=True)], None),
}


def open_epochs(folder: Path, task: str, workers: int, *, lean: bool) -> Any:
    del lean
    shards, cache = folder / "shards", folder / "mien-cache"
    if task in SINGLE:
        return _SingleSamples(ShardReader(shards, cache_dir=cache), task)
    fields, windows = _FIELDS[task]
    reader = ShardReader(shards, fields=fields, windows=windows, cache_dir=cache)
    return reader.loader(global_batch=BATCH, workers=workers, rank=0, world=1)


class _SingleSamples:
    def __init__(self, reader: ShardReader, task: str) -> None:
        self.reader, self.task = reader, task

    def __iter__(self) -> Iterator[Any]:
        if self.task == "light":
            one = Collator(_FIELDS["light"][0]).one
            return ([one(sample)] for sample in self.reader.samples())
        take = touched if self.task == "raw" else decoder("owned", lean=False)
        return ([take(dict(sample.members))] for sample in self.reader.samples())
