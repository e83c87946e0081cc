"""Objects that settings name by a digest."""

from cl_as_gnn.held import find, hold


def test_the_last_one_that_is_still_kept_is_found():
    first = hold("digest", "first")
    second = hold("digest", "second")
    assert find("digest") == "second"
    del second
    assert find("digest") == "first", "the end of one must not take the other away"
    del first
    assert find("digest") is None
