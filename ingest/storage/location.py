"""Opens the file system that a URI names, and redacts URIs for messages."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from mien.ingest.errors import ConfigError, UsageError

OBJECT_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "abfss"})

# Options that a URI's query may contain. Secrets are refused: URIs are stored and shown.
_QUERY_OPTIONS = frozenset({"region", "scheme", "endpoint_override"})
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"(?<=\S)[?#][^\s]*")


def redact(uri: str) -> str:
    """`uri` for a message: without user, password, query (it may contain a signature) and fragment."""
    if "://" not in uri:
        return uri
    shown = _QUERY.sub("?…", _USERINFO.sub("", uri)) if not uri.startswith("file://") else uri
    # In abfs://container@account… the part before the @ is a container, not a user.
    container = re.match(r"abfss?://([^/@:\s]+)(?::[^/@\s]*)?@", uri)
    return shown.replace("://", f"://{container[1]}@", 1) if container else shown


def split_object_uri(uri: str) -> tuple[str, str, dict[str, str]]:
    """`uri` as (scheme, "bucket/key", query options).

    Raises:
        UsageError: there is no bucket, the URI contains credentials, or an option is not allowed in a URI.
    """
    parts = urlsplit(uri)
    is_abfs = parts.scheme.startswith("abfs")
    if parts.password or (parts.username and not is_abfs):
        raise UsageError(
            f"{redact(uri)}: the URI contains credentials; set them in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, …)"
        )
    if not parts.netloc:
        raise UsageError(f"{redact(uri)}: the URI names no bucket; write {parts.scheme}://bucket/prefix")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - _QUERY_OPTIONS)
    if unknown:
        allowed = ", ".join(sorted(_QUERY_OPTIONS))
        raise UsageError(
            f"{redact(uri)}: unknown option {', '.join(unknown)}; a storage URI may have {allowed}"
        )
    bucket = parts.username if is_abfs and parts.username else parts.netloc
    return parts.scheme, f"{bucket}{unquote(parts.path)}".rstrip("/"), options


def open_filesystem(uri: str, **options: Any) -> tuple[Any, str]:
    """The `pyarrow.fs.FileSystem` of an object store URI, and the path within it.

    `options` are passed to the file system's constructor. They override the URI's query, which overrides the
    environment (AWS_ENDPOINT_URL, AWS_REGION and the credentials that each provider's SDK looks up).

    Raises:
        UsageError: see `split_object_uri`.
        ConfigError: this kind of store does not have such an option.
    """
    scheme, path, query = split_object_uri(uri)
    merged = {**query, **options}
    try:
        if scheme == "s3":
            return _s3(path, merged), path
        if scheme in {"gs", "gcs"}:
            from pyarrow.fs import GcsFileSystem

            return GcsFileSystem(**merged), path
        return _azure(uri, merged), path
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{redact(uri)}: {_scrubbed(error, merged)}; check the storage options") from error


def _s3(path: str, options: dict[str, Any]) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    environment = os.environ
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint:
        options.setdefault("endpoint_override", endpoint)
    override = str(options.get("endpoint_override", ""))
    if "://" in override:
        scheme, _, host = override.partition("://")
        options["endpoint_override"] = host.rstrip("/")
        options.setdefault("scheme", scheme)
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if region:
        options.setdefault("region", region)
    elif not override and "region" not in options:
        options["region"] = resolve_s3_region(path.split("/", 1)[0])
    bundle = environment.get("AWS_CA_BUNDLE")
    if bundle:
        options.setdefault("tls_ca_file_path", bundle)
    options.setdefault("connect_timeout", 10.0)
    options.setdefault("request_timeout", 60.0)
    options.setdefault("retry_strategy", AwsStandardS3RetryStrategy(max_attempts=3))
    # Background writes would copy a whole shard into memory.
    options.setdefault("background_writes", False)
    return S3FileSystem(**options)


def _azure(uri: str, options: dict[str, Any]) -> Any:
    from pyarrow.fs import AzureFileSystem

    parts = urlsplit(uri)
    account = (parts.hostname or "").split(".", 1)[0] if parts.username else ""
    options.setdefault("account_name", account or os.environ.get("AZURE_STORAGE_ACCOUNT", ""))
    key = os.environ.get("AZURE_STORAGE_KEY")
    if key:
        options.setdefault("account_key", key)
    return AzureFileSystem(**options)


def secrets_of(options: dict[str, Any]) -> tuple[str, ...]:
    """The secrets among the options and in the environment. No message may contain them."""
    named = (
        "access_key",
        "secret_key",
        "session_token",
        "account_key",
        "sas_token",
        "access_token",
        "client_secret",
    )
    variables = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY")
    found = [str(options[name]) for name in named if options.get(name)]
    found += [os.environ[name] for name in variables if os.environ.get(name)]
    return tuple(found)


def _scrubbed(error: Exception, options: dict[str, Any]) -> str:
    text = str(error)
    for secret in secrets_of(options):
        text = text.replace(secret, "***")
    return text
