"""Faces: find them, follow them, cut them out upright, and say who is the same person."""
