"""The reader beside its peers, on the same samples in one run."""
