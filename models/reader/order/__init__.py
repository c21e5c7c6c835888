"""What comes when: pure functions from (seed, epoch, manifest) and a position to a sample."""
