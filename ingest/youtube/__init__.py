"""YouTube through yt-dlp: what is asked, what is answered, what is stored."""
