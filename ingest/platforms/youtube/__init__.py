"""YouTube, through yt-dlp."""
