"""Benchmarks of the pipeline, the engine and the downloads."""
