"""Maps errors of stores to the error tree, and retries those that may pass."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from mien.ingest.errors import (
    MienError,
    Policy,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageMissingError,
    one_line,
)

Result = TypeVar("Result")

ATTEMPTS = 4

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
)
# Messages of the S3, GCS and Azure SDKs; pyarrow passes them on without an errno. The first match decides.
_TEXTS: tuple[tuple[re.Pattern[str], type[StorageError]], ...] = (
    (
        re.compile(r"no space left|quota ?exceeded|InsufficientStorage|HTTP status 507", re.I),
        StorageFullError,
    ),
    (
        re.compile(
            r"NO_SUCH_BUCKET|NoSuchBucket|bucket does not exist|Bucket '.*' not found|ContainerNotFound"
            r"|ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|INVALID_SIGNATURE|SIGNATURE_DOES_NOT_MATCH"
            r"|SignatureDoesNotMatch|MISSING_AUTHENTICATION|EXPIRED_TOKEN|ExpiredToken|No credentials"
            r"|PERMISSION_DENIED|UNAUTHENTICATED|AuthorizationFailure"
            r"|AuthenticationFailed|HTTP status 40[13]",
            re.I,
        ),
        StorageDeniedError,
    ),
    (
        re.compile(r"NO_SUCH_KEY|Path does not exist|RESOURCE_NOT_FOUND|HTTP status 404", re.I),
        StorageMissingError,
    ),
)
_ADVICE = {
    StorageFullError: "free space or use another store",
    StorageDeniedError: "check the address, its permissions and the credentials",
    StorageMissingError: "check the name",
    StorageError: "mien retries it later",
}


def translate(error: OSError, doing: str, secrets: tuple[str, ...] = ()) -> StorageError:
    """The `StorageError` for `error`. Its message starts with `doing` ("writing s3://…")."""
    kind: type[StorageError] = StorageError
    if error.errno in _FULL:
        kind = StorageFullError
    elif error.errno in _DENIED:
        kind = StorageDeniedError
    else:
        text = str(error)
        found = next((kind for pattern, kind in _TEXTS if pattern.search(text)), None)
        if found is not None:
            kind = found
        elif isinstance(error, FileNotFoundError):
            kind = StorageMissingError
    text = (error.strerror if error.errno else None) or str(error)
    for secret in secrets:
        text = text.replace(secret, "***")
    return kind(one_line(f"{doing}: {text.rstrip('.')}; {_ADVICE[kind]}"))


@contextmanager
def translated(doing: str, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, doing, secrets) from error


def retried(action: Callable[[], Result]) -> Result:
    """The result of `action()`. Calls it up to `ATTEMPTS` times while its error has the policy RETRY."""
    return Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5.0),
        retry=retry_if_exception(lambda error: isinstance(error, MienError) and error.policy is Policy.RETRY),
        reraise=True,
    )(action)
