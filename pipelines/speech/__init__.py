"""Voice activity detection, and splitting a file into segments in pauses."""
