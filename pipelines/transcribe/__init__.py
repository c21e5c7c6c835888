"""Speech recognition: words with their times, using faster-whisper."""
