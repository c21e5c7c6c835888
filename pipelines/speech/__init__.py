"""Where somebody speaks, and the cutting of a file into segments in the pauses."""
