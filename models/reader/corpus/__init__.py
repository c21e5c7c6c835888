"""What there is to read: lists shards, keeps one index over them, and filters samples."""
