"""From sample numbers to batches: worker processes, shared memory, and the loader that hands batches out."""
