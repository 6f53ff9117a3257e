"""Loopback servers that speak the wire formats of hosted models, for tests and benchmarks."""
