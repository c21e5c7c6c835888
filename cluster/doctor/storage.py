"""Weights, catalog, shards and disk space."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mien.cluster.config import Settings, weights_in_use
from mien.cluster.config.show import redact
from mien.cluster.doctor.check import Check
from mien.ingest.errors import MienError, one_line

LITTLE_BYTES = 20 * 1024**3
TOO_LITTLE_BYTES = 1024**3


def weights(settings: Settings) -> Iterator[Check]:
    from mien.pipelines.weights import locate

    for name in weights_in_use(settings):
        try:
            yield Check.ok(f"weights {name}", f"verified at {locate(name)}")
        except MienError as error:
            problem, _, fix = one_line(str(error)).rpartition("; ")
            yield Check.fail(f"weights {name}", problem, fix)


def catalog(settings: Settings) -> Iterator[Check]:
    url, file = settings.store.catalog_url, settings.store.catalog_file
    if file is not None and not file.exists():
        yield creatable("catalog", file.parent, str(file))
        return
    from mien.ingest.catalog import Catalog

    with Catalog.open(url):
        yield Check.ok("catalog", f"{redact(url)} can be opened")


def shards(settings: Settings) -> Iterator[Check]:
    from mien.ingest.storage import open_store

    uri = settings.store.shards_uri
    if "://" not in uri and not Path(uri).exists():
        yield creatable("shards", Path(uri), uri)
        return
    open_store(uri).check_writable()
    yield Check.ok("shards", f"{redact(uri)} is writable")


def disk(settings: Settings) -> Iterator[Check]:
    """Free space on the disk of store.root, which holds unfinished tars and fetched media."""
    folder = nearest_existing(Path(settings.store.root))
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free at {folder}"
    fix = "free some space, or set store.root to a folder on a larger disk"
    if free < TOO_LITTLE_BYTES:
        yield Check.fail("disk", text, fix)
    elif free < LITTLE_BYTES:
        yield Check.warn("disk", text, fix)
    else:
        yield Check.ok("disk", text)


def nearest_existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def creatable(name: str, folder: Path, shown: str) -> Check:
    """Checks that `folder` can be created, without creating it."""
    parent = nearest_existing(folder)
    try:
        # Permissions are not enough: read-only mounts and quotas also affect root.
        with tempfile.TemporaryDirectory(dir=parent, prefix=".mien-"):
            return Check.ok(name, f"{shown} will be created")
    except OSError as error:
        problem = f"{shown} does not exist and cannot be created: {error.strerror or error} in {parent}"
        return Check.fail(name, problem, "set store.root to a writable folder")
