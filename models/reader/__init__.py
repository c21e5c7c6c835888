"""Reads shards for training: `ShardReader` (shard_reader.py) and what it is built from.

corpus/   lists shards and keeps one index over them
order/    decides which sample comes at which position of an epoch
store/    reads a sample's bytes from local, cached or remote shards
fields/   decodes members of a sample and collates them into a batch
loader/   builds batches in worker processes and hands them out
"""
