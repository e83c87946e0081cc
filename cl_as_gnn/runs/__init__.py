"""The folder of a run: how it is written without loss, read back, scored again and exported."""
