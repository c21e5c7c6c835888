"""Budgets and circuit breakers of egress identities."""
