"""`mien demo`: everything at work, on three small films."""

from cluster.demo.show import Demo, demonstrate

__all__ = ["Demo", "demonstrate"]
