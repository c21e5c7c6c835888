"""Makes names that are valid in tar keys, JSON and SQL from arbitrary names.

A path on Linux is bytes. A path that is valid UTF-8 is stored as it is: people can type and search it. Any
other path is stored as a percent-encoded file:// URI, because JSON and PostgreSQL refuse the lone surrogates
that Python uses for such names. An absolute path starts with "/", so the two forms are distinct.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mien.ingest.errors import UsageError

# Containers of video: included from a folder if faces are needed.
MEDIA_EXTENSIONS = frozenset(
    (  # noqa: SIM905
        ".3g2 .3gp .amv .asf .avi .divx .dv .f4v .flv .ivf .m1v .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov "
        ".mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m"
    ).split()
)
# Audio files: included from a folder if only speech is needed.
SOUND_EXTENSIONS = frozenset(
    (  # noqa: SIM905
        ".aac .ac3 .aif .aiff .amr .ape .au .caf .eac3 .flac .m4a .m4b .mka .mp2 .mp3 .oga .ogg .opus .tta "
        ".w64 .wav .wma .wv"
    ).split()
)
SLUG_LETTERS = 40
DIGEST_LETTERS = 16
"""64 bits: among ten million files of the same name, a collision has a probability of 3 in a million."""

_FILE_URI = re.compile(r"file:(?://(?:localhost)?(?=/)|(?=/(?!/)))(/[^?#]*)", re.IGNORECASE)
_NOT_SLUG = re.compile(r"[^A-Za-z0-9]+")


def extension_of(name: str) -> str:
    """The extension in lower case with its dot, or "(none)"."""
    return PurePosixPath(name).suffix.lower() or "(none)"


def slug(text: str) -> str:
    """At most `SLUG_LETTERS` of [A-Za-z0-9_], or "" if the text has no ASCII letter or digit."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _NOT_SLUG.sub("_", plain)[:SLUG_LETTERS].strip("_")


def make_id(stem: str, identity: bytes) -> str:
    """A readable id that is as unique as `identity`: slug, "_", hash."""
    digest = hashlib.sha256(identity).hexdigest()[:DIGEST_LETTERS]
    readable = slug(stem)
    return f"{readable}_{digest}" if readable else digest


def printable(text: str) -> str:
    """`text` with each unprintable character replaced by U+FFFD."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text).strip()


def path_uri(path: str) -> str:
    """The absolute `path` as text that JSON and SQL can store. `local_path` is the inverse."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(path))
    return path


def local_path(uri: str) -> str | None:
    """The path that a `VideoRef.uri` names on this machine, or None for a remote address.

    Raises:
        UsageError: a file:// URI of another machine, or without an absolute path.
    """
    if not uri.lower().startswith("file:"):
        return None if "://" in uri and not uri.startswith("/") else uri
    match = _FILE_URI.fullmatch(uri)
    if match is None:
        raise UsageError(f"{uri}: not an absolute path of this machine; write file:///folder/name")
    return os.fsdecode(unquote_to_bytes(match[1]))
