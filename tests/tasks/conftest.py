"""Graph data sets on disk."""

import pytest


@pytest.fixture(scope="module")
def planetoid(tmp_path_factory, write_planetoid):
    return write_planetoid(tmp_path_factory.mktemp("planetoid"))


@pytest.fixture(scope="module")
def tu(tmp_path_factory, write_tu):
    return write_tu(tmp_path_factory.mktemp("tu"))
