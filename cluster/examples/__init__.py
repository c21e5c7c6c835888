"""The programs of models/examples, run on a Ray cluster."""
