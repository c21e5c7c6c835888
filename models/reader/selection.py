"""A selection: which shards of which corpora are read, in what order, and the hashes that identify both.

A loader state identifies its shards by a hash. The shards' names are stored in the cache,
`<cache>/manifests/<hash>.json`, so that a run can continue with its own shards after the corpus has grown.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mien.ingest.errors import ManifestChangedError, StorageError
from mien.models.reader.corpus.corpus import Corpus
from mien.models.reader.data import SampleIds
from mien.models.reader.order.epoch import VERSION
from mien.models.reader.order.plan import Chosen, MixedPlan, Plan, WholePlan

STORED_MANIFESTS = 256
"""Manifests that the cache holds; older ones are deleted."""

Shards = Sequence[tuple[str, str]]
"""(name, identity) of each shard: see `sidecar.read_rows`."""


@dataclass(frozen=True)
class Selection:
    corpora: tuple[Corpus, ...]
    weights: tuple[float, ...] | None
    shuffle_window: int

    @cached_property
    def manifest_hash(self) -> str:
        return manifest_hash([corpus.manifest for corpus in self.corpora])

    @cached_property
    def order_hash(self) -> str:
        """Identifies everything else that the order depends on, so that a state is not continued in another
        order."""
        settings = [VERSION, [corpus.where for corpus in self.corpora], self.weights, self.shuffle_window]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return sum(len(corpus) for corpus in self.corpora)

    def plan(self, seed: int) -> Plan:
        # Only of the selected shards: the others did not exist when this order was first used.
        counts = [corpus.counts[corpus.shards] for corpus in self.corpora]
        purpose = (seed, self.manifest_hash)
        if self.weights is None:
            return WholePlan(counts, self.shuffle_window, *purpose)
        return MixedPlan(counts, self.weights, self.shuffle_window, *purpose)

    def sample_ids(self, chosen: Chosen) -> SampleIds:
        samples = np.empty_like(chosen.ordinals)
        for number, corpus in enumerate(self.corpora):
            mine = chosen.corpora == number
            samples[mine] = corpus.numbers(chosen.ordinals[mine])
        return SampleIds(chosen.corpora, samples, chosen.passes)

    def store_manifest(self, cache: Path) -> None:
        """Raises StorageError."""
        try:
            store_manifest(cache, self.manifest_hash, [corpus.manifest for corpus in self.corpora])
        except OSError as error:
            raise StorageError(
                f"cannot write the manifest cache {cache}: {error}; fix the problem or pass cache_dir"
            ) from error

    def restored(self, manifest: str, cache: Path) -> Selection:
        """The selection with this manifest hash: this one, or the part of it that existed when the state was
        saved.

        Raises ManifestChangedError.
        """
        if manifest == self.manifest_hash:
            return self
        shards = load_manifest(cache, manifest)
        mismatch = f"the shards here are {self.manifest_hash[:12]}…, those of the state are {manifest[:12]}…"
        if shards is None:
            raise ManifestChangedError(
                f"{mismatch}, and {cache}/manifests has no list of them; copy {manifest}.json there from the "
                "machine that wrote the state, or start a new epoch on today's shards without a state"
            )
        return self.only(shards, why=mismatch)

    def only(self, manifests: Sequence[Sequence[tuple[str, str]]], *, why: str) -> Selection:
        """The selection of exactly these shards. Raises ManifestChangedError if one is missing or was
        replaced."""
        if len(manifests) != len(self.corpora):
            raise ManifestChangedError(
                f"{why}: the state has {len(manifests)} corpora, the reader {len(self.corpora)}; "
                "give the same corpora in the same order"
            )
        corpora = []
        for corpus, shards in zip(self.corpora, manifests, strict=True):
            present = dict(corpus.manifest)
            missing = [name for name, identity in shards if present.get(name) != identity]
            if missing:
                raise ManifestChangedError(
                    f"{why}: {len(missing)} of its {len(shards)} shards are missing from {corpus.store.uri} "
                    f"or were replaced, for example {missing[0]}; restore them, or start without a state"
                )
            corpora.append(corpus.only([name for name, _ in shards]))
        return Selection(tuple(corpora), self.weights, self.shuffle_window)


def manifest_hash(corpora: Sequence[Shards]) -> str:
    """Depends on the names and contents of each corpus' shards, not on their location or the filter."""
    hashed = hashlib.sha256()
    for shards in corpora:
        hashed.update(f"corpus {len(shards)}\n".encode())
        hashed.update("".join(f"{name} {identity}\n" for name, identity in shards).encode())
    return hashed.hexdigest()


def store_manifest(cache: Path, digest: str, corpora: Sequence[Shards]) -> None:
    """Raises OSError."""
    folder = cache / "manifests"
    path = folder / f"{digest}.json"
    if path.exists():
        path.touch()
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{uuid.uuid4().hex}"
    temporary.write_text(json.dumps([list(shards) for shards in corpora]))
    temporary.replace(path)
    found = []
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another rank's temporary file, renamed by now
            found.append((entry.stat().st_mtime, entry.path))
    for _, old in sorted(found, reverse=True)[STORED_MANIFESTS:]:
        with suppress(FileNotFoundError):
            os.unlink(old)  # noqa: PTH108


def load_manifest(cache: Path, digest: str) -> list[list[tuple[str, str]]] | None:
    """What `store_manifest` stored; None if this machine has no complete copy."""
    try:
        content = json.loads((cache / "manifests" / f"{digest}.json").read_text())
        corpora = [[(str(name), str(identity)) for name, identity in shards] for shards in content]
    except (OSError, ValueError, TypeError):
        return None
    return corpora if manifest_hash(corpora) == digest else None
