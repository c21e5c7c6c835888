"""Small whole programs over the reader, to begin one's own from."""
