"""One run: what the catalog has to do, through the engine, into committed shards."""
