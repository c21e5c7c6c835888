"""The steps from a media file to a committed shard. Each runs without Ray."""
