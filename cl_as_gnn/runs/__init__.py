"""A run on disk and in the process: its folder, its weights, its scores, its ranks and devices."""
