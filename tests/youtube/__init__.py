"""A YouTube on loopback, for an unmodified yt-dlp. `server.py` says how it is used."""

from tests.youtube.server import Request, YouTubeDouble
from tests.youtube.video import Fault, Video

__all__ = ["Fault", "Request", "Video", "YouTubeDouble"]
