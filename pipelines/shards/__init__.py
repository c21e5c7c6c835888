"""Writes, indexes and verifies shards: tars of samples with a Parquet sidecar."""
