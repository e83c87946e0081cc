"""The two mistakes a user meets: each carries one line that names the value and the cure."""


class ConfigError(ValueError):
    """A setting, a path or a key is wrong: nothing has run yet (exit code 2)."""


class RunError(RuntimeError):
    """A run could not go on, though it was configured rightly (exit code 1)."""
