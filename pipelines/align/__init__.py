"""Selects the spans of each face that become clips."""
