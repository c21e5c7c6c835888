"""Every site that yt-dlp supports, and the yt-dlp machinery that other platforms share."""
