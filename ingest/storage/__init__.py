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
    """The store at `uri`: a local path, file://, s3://, gs:// or abfs://. Nothing is created, and nothing
    asked but the region of an S3 bucket where neither option nor environment gives it.

    `options` are those of pyarrow's file system for the scheme (S3: endpoint_override, region, access_key,
    secret_key, session_token, anonymous, …); what is not given comes from the environment.

    Raises:
        UsageError: an unknown scheme, credentials in the URI, or options for a local folder.
        ConfigError: an option that the store does not know.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme in OBJECT_SCHEMES:
        from mien.ingest.storage.objects import ObjectStore

        return ObjectStore(uri, options)
    if scheme not in {"", "file"}:
        raise UsageError(
            f"{redact(uri)}: no store speaks {scheme}://; "
            f"give a path, file://, or one of {', '.join(f'{known}://' for known in sorted(OBJECT_SCHEMES))}"
        )
    if not uri:
        raise UsageError("the store's address is empty; give a folder or a URI")
    if options:
        raise UsageError(f"{uri}: a folder takes no options; got {', '.join(sorted(options))}")
    from mien.ingest.storage.local import LocalStore

    return LocalStore(Path(_local_path(uri)))


def _local_path(uri: str) -> str:
    if not uri.startswith("file://"):
        return uri
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(f"{redact(uri)}: file:// names this machine only; write file:///folder")
    return unquote(parts.path, errors="surrogateescape")
