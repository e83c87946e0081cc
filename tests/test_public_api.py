"""The public names of the package are those of ``public_api.txt``.

``python tests/test_public_api.py`` writes the file.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import cl_as_gnn

LIST = Path(__file__).with_name("public_api.txt")


def public():
    """``module: name`` for each name in ``__all__`` of a package."""
    below = [module.name for module in walk_packages(cl_as_gnn.__path__, "cl_as_gnn.") if module.ispkg]
    packages = ["cl_as_gnn", *below]
    names = {name: getattr(import_module(name), "__all__", ()) for name in packages}
    return sorted(f"{module}: {name}" for module, exported in names.items() for name in exported)


def test_the_public_names_are_those_of_the_list():
    found, listed = public(), LIST.read_text().splitlines()
    gone, new = sorted(set(listed) - set(found)), sorted(set(found) - set(listed))
    assert found == listed, (
        f"public names gone: {gone}, new: {new}. On purpose? Then run python tests/test_public_api.py, commit "
        "tests/public_api.txt, and name the change in CHANGELOG.md"
    )


def test_every_public_name_exists():
    for line in public():
        module, name = line.split(": ")
        assert hasattr(import_module(module), name), line


if __name__ == "__main__":
    LIST.write_text("".join(f"{line}\n" for line in public()))
