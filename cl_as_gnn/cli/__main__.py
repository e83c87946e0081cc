"""``python -m cl_as_gnn.cli``."""

from cl_as_gnn.cli import main

if __name__ == "__main__":
    main()
