"""Small complete training programs that use the reader. Copy one to start your own.

To add a trainer, add one file here. It starts with the commands that run it, including a tiny CPU run, and
reads shards with `from mien import ShardReader, Window`.
"""
