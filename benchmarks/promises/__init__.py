"""What the package promises, and how often each promise held: ``python -m benchmarks.promises``."""
