"""Speech recognition with word times (Whisper)."""
