"""Which sample comes at which position of an epoch: pure functions of (seed, epoch, manifest)."""
