"""Speed of the toolkit's parts beside other implementations of the same thing: ``python -m benchmarks.speed``."""
