"""Samples, and the tars and indexes that hold them."""
