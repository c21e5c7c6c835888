"""Inspects shards: lists them, computes statistics, and exports samples as files that any player opens."""
