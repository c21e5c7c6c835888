"""The Python interpreter, and the programs and libraries that read video."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check
from mien.ingest.errors import one_line

OLDEST_PYTHON = (3, 11)
HEADLESS_FIX = "pip install --force-reinstall --no-deps opencv-python-headless"


def python(_: Settings) -> Iterator[Check]:
    version = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Check.fail(
            "python", version, "install Python 3.11 or newer and recreate the virtual environment"
        )
    else:
        yield Check.ok("python", version)


def ffmpeg(_: Settings) -> Iterator[Check]:
    from mien.ingest.ffmpeg import find_ffmpeg

    yield Check.ok("ffmpeg", find_ffmpeg())


def pyav(_: Settings) -> Iterator[Check]:
    try:
        import av
    except ImportError as error:
        yield Check.fail("pyav", one_line(str(error)), "pip install --force-reinstall av")
        return
    codec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    yield Check.ok("pyav", f"PyAV {av.__version__}, libavcodec {codec}")


def opencv(_: Settings) -> Iterator[Check]:
    """The desktop build of OpenCV needs libGL, which servers and containers often lack."""
    try:
        import cv2
    except ImportError as error:
        lacking = "libGL" in str(error) or "libgthread" in str(error) or "libxcb" in str(error)
        fix = HEADLESS_FIX if lacking else "pip install --force-reinstall opencv-python"
        yield Check.fail("opencv", f"cv2 cannot be imported: {one_line(str(error))}", fix)
        return
    yield Check.ok("opencv", f"OpenCV {cv2.__version__}")
