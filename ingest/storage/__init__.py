"""Stores of shards: a folder, or a prefix in an object store, behind one interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mien.ingest.errors import UsageError
from mien.ingest.storage.location import OBJECT_SCHEMES, redact
from mien.ingest.storage.store import Entry, Store

__all__ = ["OBJECT_SCHEMES", "Entry", "Store", "open_store", "redact"]


def open_store(uri: str, **options: Any) -> Store:
    """The store at `uri`: a local path, file://, s3://, gs:// or abfs://. This creates nothing, and sends no
    request, except for an S3 bucket's region if neither the options nor the environment set it.

    `options` are passed to pyarrow's file system of the scheme (S3: endpoint_override, region, access_key,
    secret_key, session_token, anonymous, …). Missing options come from the environment.

    Raises:
        UsageError: an unknown scheme, credentials in the URI, or options for a local folder.
        ConfigError: the store does not have such an option.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme in OBJECT_SCHEMES:
        from mien.ingest.storage.objects import ObjectStore

        return ObjectStore(uri, options)
    if scheme not in {"", "file"}:
        raise UsageError(
            f"{redact(uri)}: no store supports {scheme}://; "
            f"use a path, file://, or one of {', '.join(f'{known}://' for known in sorted(OBJECT_SCHEMES))}"
        )
    if not uri:
        raise UsageError("the store's address is empty; set a folder or a URI")
    if options:
        raise UsageError(f"{uri}: a folder has no options; remove {', '.join(sorted(options))}")
    from mien.ingest.storage.local import LocalStore

    return LocalStore(Path(_local_path(uri)))


def _local_path(uri: str) -> str:
    if not uri.startswith("file://"):
        return uri
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(f"{redact(uri)}: file:// names this machine only; write file:///folder")
    return unquote(parts.path, errors="surrogateescape")
