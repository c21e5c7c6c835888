"""What is said: words with their times, by faster-whisper."""
