"""The video platforms. A new platform is one folder and one line in `PLATFORMS`.

Everything outside the folder of a platform asks this registry: which addresses it accepts, how it lists and
downloads, what its errors mean, and how much may be asked of it per hour.
"""

from __future__ import annotations

from mien.ingest.platforms.platform import Platform
from mien.ingest.platforms.youtube.platform import YouTube
from mien.ingest.platforms.ytdlp.platform import AnySite

__all__ = ["PLATFORMS", "Platform", "platform_of"]

# The first platform that accepts an address gets it. The key is `VideoRef.source`.
PLATFORMS: dict[str, Platform] = {
    "youtube": YouTube(),
    "ytdlp": AnySite(),
}


def platform_of(argument: str) -> Platform | None:
    """The platform that accepts `argument`, judged by its form; nothing is requested."""
    return next((platform for platform in PLATFORMS.values() if platform.accepts(argument)), None)
