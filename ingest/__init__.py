"""Sources, download, catalog, storage: everything up to a proven media file."""
