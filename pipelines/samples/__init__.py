"""From clips to samples: encodes film strips, sound and tracks, and describes each clip."""
