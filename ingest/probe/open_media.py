"""Opens one local file with libav, and no other file.

By default, libav guesses from the file's extension, treats `http:x.mp4` as a URL, plays playlists that point
to other files, and reads text as subtitles. To prevent this, we open the file and pass its descriptor, so
libav has no name to guess from. `fd` is the only allowed protocol, and only real containers are allowed as
formats (https://ffmpeg.org/ffmpeg-formats.html#Format-Options, `format_whitelist`).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from mien.ingest.errors import (
    AccessDeniedError,
    CorruptMediaError,
    EmptyFileError,
    MediaError,
    MissingFileError,
    NotAFileError,
    NotMediaError,
    StorageError,
    TruncatedMediaError,
    UnsupportedMediaError,
    one_line,
)
from mien.ingest.probe.completeness import looks_like, shortfall

if TYPE_CHECKING:
    from av.container import InputContainer

CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,ogg,flv,live_flv,asf,rm,nut,mxf,dv,ivf,wtv,nsv,gxf,"
    "wav,w64,mp3,flac,aac,ac3,eac3,amr,aiff,caf,au,wv,ape,tta"
)
# Recognised so that the error message can call them pictures.
PICTURES = (
    "gif,apng,png_pipe,jpeg_pipe,bmp_pipe,webp_pipe,tiff_pipe,jpegxl_pipe,jpegxl_anim,qoi_pipe,psd_pipe,"
    "ppm_pipe,pgm_pipe,pbm_pipe,pam_pipe,j2k_pipe,jpegls_pipe,dds_pipe,exr_pipe,hdr_pipe,sgi_pipe,ico"
)

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_DENIED = {errno.EACCES, errno.EPERM}


def shown(path: str) -> str:
    """`path` for a message: one printable line, for any bytes."""
    return ascii(path) if not path.isprintable() else f"'{path}'"


def open_media(path: str) -> InputContainer:
    """A demuxer for `path`. The caller closes it.

    Raises MissingFileError, AccessDeniedError, NotAFileError, EmptyFileError, NotMediaError, and
    TruncatedMediaError or CorruptMediaError if the file starts like a container but cannot be opened.
    """
    import av

    descriptor = _descriptor(path)
    try:
        return av.open(
            "fd:",
            mode="r",
            options={
                "fd": str(descriptor),
                "protocol_whitelist": "fd",
                "format_whitelist": f"{CONTAINERS},{PICTURES}",
                # Needed to find sound that begins late in a format without a header.
                "probesize": str(32 << 20),
                "analyzeduration": str(30_000_000),
            },
            metadata_errors="replace",
        )
    except (av.FFmpegError, OverflowError) as error:
        raise _opening_error(path, descriptor, error) from error
    finally:
        os.close(descriptor)  # libav holds a duplicate


def _descriptor(path: str) -> int:
    name = shown(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (the path is unmodified text)
            # Not opened: a FIFO would wait for a writer, and a device could have side effects.
            raise NotAFileError(f"{name} is not a regular file; use the path of a media file")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a NUL in the name
        raise MissingFileError(f"{name} cannot be a file ({error}); check the path") from error
    except OSError as error:
        raise _os_error(path, error) from error
    if os.fstat(descriptor).st_size == 0:
        os.close(descriptor)
        raise EmptyFileError(f"{name} has 0 bytes; download it again")
    return descriptor


def _os_error(path: str, error: OSError) -> MediaError | StorageError:
    text = f"{shown(path)}: {error.strerror}"
    if error.errno in _MISSING:
        return MissingFileError(f"{text}; check the path, or download it again")
    if error.errno in _DENIED:
        return AccessDeniedError(f"{text}; allow this user to read it")
    return StorageError(f"{text}; check the disk or the mount")


def _opening_error(path: str, descriptor: int, error: Exception) -> MediaError:
    import av

    text = f"{shown(path)} cannot be opened ({one_line(str(error), 200)})"
    if isinstance(error, av.error.NotImplementedError | av.error.PatchWelcomeError):
        return UnsupportedMediaError(f"{text}; convert it, e.g. to mp4 with H.264 and AAC")
    if not looks_like(descriptor):
        return NotMediaError(f"{text}; its content is no media format that mien supports")
    missing = shortfall(descriptor)
    if missing or isinstance(error, av.error.EOFError):
        return TruncatedMediaError(f"{text}, {missing or 'it ends immediately'}; download it again")
    return CorruptMediaError(f"{text}: its header is damaged; download it again")
