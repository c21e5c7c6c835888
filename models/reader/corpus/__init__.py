"""What there is to read: the shards of a folder, one index over them, and the samples that a filter keeps."""
