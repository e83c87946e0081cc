"""What every benchmark stands on: stored results, tables, docs pages, timing and the description of the machine."""
