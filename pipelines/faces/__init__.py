"""Face detection, tracking, aligned crops and identity."""
