"""Photographs read from files: data, views and whole steps beside other tools: ``python -m benchmarks.photos``."""
