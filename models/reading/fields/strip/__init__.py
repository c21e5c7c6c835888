"""JPEG film strips: what the header says, windows of frames cut out, and decoding into given memory."""
