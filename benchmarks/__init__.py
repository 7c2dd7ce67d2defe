"""Benchmarks: ``python -m benchmarks``; see README.md for the method."""
