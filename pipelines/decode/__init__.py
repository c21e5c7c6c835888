"""Decodes the frames and the sound of a media file, with times on the file's clock."""
