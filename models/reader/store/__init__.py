"""Reads a sample's bytes: from mapped local shards, from a cache of remote shards, or by ranged requests."""
