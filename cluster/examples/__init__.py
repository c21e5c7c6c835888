"""The programs of models/examples on a Ray cluster."""
