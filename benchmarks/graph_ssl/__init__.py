"""What the layers and losses are worth on graphs; each module has ``run(root, out, seeds, ...)`` and a command."""
