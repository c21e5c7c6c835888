"""What a reader reads, decided: corpora, which of their shards count, in what order, and a name for it."""

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
from mien.models.reader.loader.batch_builder import SampleIds
from mien.models.reader.order.epoch import VERSION
from mien.models.reader.order.plan import Chosen, MixedPlan, Plan, WholePlan


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
        """Of what else the order depends on, so that no state is continued in another one."""
        told = [VERSION, [corpus.where for corpus in self.corpora], self.weights, self.shuffle_window]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return sum(len(corpus) for corpus in self.corpora)

    def plan(self, seed: int) -> Plan:
        # Of the shards that count alone: the others did not exist when this order began.
        counts = [corpus.counts[corpus.shards] for corpus in self.corpora]
        purpose = (seed, self.manifest_hash)
        if self.weights is None:
            return WholePlan(counts, self.shuffle_window, *purpose)
        return MixedPlan(counts, self.weights, self.shuffle_window, *purpose)

    def picks(self, chosen: Chosen) -> SampleIds:
        samples = np.empty_like(chosen.ordinals)
        for number, corpus in enumerate(self.corpora):
            mine = chosen.corpora == number
            samples[mine] = corpus.numbers(chosen.ordinals[mine])
        return SampleIds(chosen.corpora, samples, chosen.passes)

    def remember(self, cache: Path) -> None:
        """Raises StorageError."""
        try:
            remember(cache, self.manifest_hash, [corpus.manifest for corpus in self.corpora])
        except OSError as error:
            raise StorageError(f"manifest cache {cache}: {error}; mend it or give cache_dir") from error

    def restored(self, wanted: str, cache: Path) -> Selection:
        """The selection that the hash names: this one, or as much of it as was there when the state was made.

        Raises ManifestChangedError.
        """
        if wanted == self.manifest_hash:
            return self
        told = recall(cache, wanted)
        here = f"the shards here are {self.manifest_hash[:12]}…, the state counts in {wanted[:12]}…"
        if told is None:
            raise ManifestChangedError(
                f"{here}, which {cache}/manifests does not know: copy {wanted}.json there from the machine "
                "that wrote the state, or begin an epoch with the shards of today by a loader without a state"
            )
        return self.only(told, why=here)

    def only(self, told: Sequence[Sequence[tuple[str, str]]], *, why: str) -> Selection:
        """Of exactly the shards told. Raises ManifestChangedError where one is missing, or another by now."""
        if len(told) != len(self.corpora):
            raise ManifestChangedError(
                f"{why}: of {len(told)} corpora, not {len(self.corpora)}; give the same ones in order"
            )
        corpora = []
        for corpus, shards in zip(self.corpora, told, strict=True):
            have = dict(corpus.manifest)
            gone = [name for name, identity in shards if have.get(name) != identity]
            if gone:
                raise ManifestChangedError(
                    f"{why}: {len(gone)} of its {len(shards)} shards are gone from {corpus.store.uri} or "
                    f"were replaced, {gone[0]} among them; bring them back, or begin anew without a state"
                )
            corpora.append(corpus.only([name for name, _ in shards]))
        return Selection(tuple(corpora), self.weights, self.shuffle_window)


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
