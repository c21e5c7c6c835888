"""A training checkpoint in one file. If the writer is killed, the file holds the last complete checkpoint."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mien.ingest.storage.error_mapping import translated

NAME = "checkpoint.pt"


class FileCheckpoint:
    """`folder`/checkpoint.pt. Every rank reads it and rank 0 writes it, so all machines must share the
    folder."""

    def __init__(self, folder: Path, *, rank: int) -> None:
        self.path, self._rank = folder / NAME, rank

    def load(self) -> dict[str, Any] | None:
        """Raises StorageError."""
        with translated(f"reading {self.path}"):
            return read(self.path) if self.path.exists() else None

    def save(self, state: dict[str, Any], numbers: dict[str, float]) -> None:
        """Raises StorageError."""
        del numbers
        if self._rank == 0:
            with translated(f"writing {self.path}"):
                write(self.path, state)


def read(path: Path) -> dict[str, Any]:
    """Reads tensors and plain values. The file cannot run code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def write(path: Path, state: dict[str, Any]) -> None:
    """Writes to a temporary name, flushes to disk, then renames, so the file is always complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def digest(model: nn.Module) -> str:
    """A hash of all parameters."""
    hashed = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        hashed.update(name.encode() + value.numpy().tobytes())
    return hashed.hexdigest()[:16]
