"""Which shards a position counts in. A state names them by a hash; the names themselves stand in the cache,
`<cache>/manifests/<hash>.json`, so that a run goes on with its own shards when the corpus has grown."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

KEPT = 256

Shards = Sequence[tuple[str, str]]
"""(name, identity): see `sidecar.read_rows`."""


def manifest_hash(corpora: Sequence[Shards]) -> str:
    """Of the shards of each corpus by name; neither of where they lie, nor of how they are filtered."""
    hashed = hashlib.sha256()
    for shards in corpora:
        hashed.update(f"corpus {len(shards)}\n".encode())
        hashed.update("".join(f"{name} {identity}\n" for name, identity in shards).encode())
    return hashed.hexdigest()


def remember(cache: Path, digest: str, corpora: Sequence[Shards]) -> None:
    """Raises OSError."""
    folder = cache / "manifests"
    path = folder / f"{digest}.json"
    if path.exists():
        path.touch()
        return
    folder.mkdir(parents=True, exist_ok=True)
    growing = folder / f".{uuid.uuid4().hex}"
    growing.write_text(json.dumps([list(shards) for shards in corpora]))
    growing.replace(path)
    found = []
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another rank's, which has its own name by now
            found.append((entry.stat().st_mtime, entry.path))
    for _, old in sorted(found, reverse=True)[KEPT:]:
        with suppress(FileNotFoundError):
            os.unlink(old)  # noqa: PTH108


def recall(cache: Path, digest: str) -> list[list[tuple[str, str]]] | None:
    """What `remember` was told; None where this machine never saw it, or not whole."""
    try:
        told = json.loads((cache / "manifests" / f"{digest}.json").read_text())
        corpora = [[(str(name), str(identity)) for name, identity in shards] for shards in told]
    except (OSError, ValueError, TypeError):
        return None
    return corpora if manifest_hash(corpora) == digest else None
