"""Benchmarks: `make bench` prints every figure that the documentation quotes."""
