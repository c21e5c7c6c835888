"""Where the ffmpeg program is. Nothing else knows."""

from __future__ import annotations

import shutil
from functools import cache

from mien.ingest.errors import MissingProgramError, one_line


@cache
def find_ffmpeg() -> str:
    """Path of an ffmpeg: the one on PATH, else the one that imageio-ffmpeg carries.

    Raises MissingProgramError where there is neither.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MissingProgramError(
            f"no ffmpeg: none on PATH, and none from imageio-ffmpeg ({one_line(str(error), 200)}); "
            "install ffmpeg with the system's packages, or run `pip install imageio-ffmpeg`"
        ) from error
