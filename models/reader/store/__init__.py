"""Where a sample's bytes are: in a mapped file, in the cache of a distant store, or fetched one by one."""
