"""Python's standard tarfile."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.models.benchmarks.peer_decoding import decoder
from mien.models.benchmarks.readers.torch_loader import steps, with_workers


def open_epochs(folder: Path, task: str, workers: int, *, lean: bool) -> Any:
    epochs = _Epochs(sorted((folder / "shards").glob("*.tar")), task, lean)
    return with_workers(_torch(epochs), workers) if workers else epochs


class _Epochs:
    def __init__(self, tars: list[Path], task: str, lean: bool) -> None:
        self.tars, self.task, self.lean = tars, task, lean

    def __iter__(self) -> Iterator[Any]:
        decode = decoder(self.task, lean=self.lean)
        return steps(map(decode, read_samples(self.tars)), self.task, lean=self.lean)


def read_samples(tars: list[Path]) -> Iterator[dict[str, bytes]]:
    for tar in tars:
        key, members = "", dict[str, bytes]()
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                found, _, extension = member.name.partition(".")
                if found != key and members:
                    yield members
                    members = {}
                file = archive.extractfile(member)
                assert file is not None
                key, members[extension] = found, file.read()
        if members:
            yield members


def _torch(epochs: _Epochs) -> Any:
    from torch.utils.data import IterableDataset, get_worker_info

    class Split(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            info = get_worker_info()
            assert info is not None
            return iter(_Epochs(epochs.tars[info.id :: info.num_workers], epochs.task, epochs.lean))

    return Split()
