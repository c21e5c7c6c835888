"""Who carries batches from the shards to the trainer: processes, and the memory that they share."""
