"""Pictures and sound of a media file, on the file's clock."""
