"""Where the workers of an engine run: as Ray actors, or as processes of this machine."""
