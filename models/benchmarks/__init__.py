"""Benchmarks of the reader against other libraries, on the same samples."""
