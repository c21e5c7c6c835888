"""Looking at shards: what is there, what it is like, and single samples as files that any player shows."""
