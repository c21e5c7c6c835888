"""Finds the ffmpeg program. All other code asks this module."""

from __future__ import annotations

import shutil
from functools import cache

from mien.ingest.errors import MissingProgramError, one_line


@cache
def find_ffmpeg() -> str:
    """Path of ffmpeg: the program on PATH, or else the one in imageio-ffmpeg.

    Raises MissingProgramError if both are missing.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MissingProgramError(
            f"ffmpeg was not found, neither on PATH nor in imageio-ffmpeg ({one_line(str(error), 200)}); "
            "install ffmpeg with the system's package manager, or run `pip install imageio-ffmpeg`"
        ) from error
