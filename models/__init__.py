"""The loader and the trainers (their place: nothing is built here yet)."""
