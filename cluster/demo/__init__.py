"""`mien demo`: everything at work, on three small films."""

from mien.cluster.demo.show import Demo, demonstrate

__all__ = ["Demo", "demonstrate"]
