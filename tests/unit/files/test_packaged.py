from worker.files.packaged import is_installed, packaged


def test_a_file_of_a_package():
    """The file is read, and the package is not imported; what is not there is None."""
    assert is_installed("hypothesis")
    assert b"Hypothesis" in packaged("hypothesis", "__init__.py")
    assert packaged("hypothesis", "nothing.bin") is None
    assert packaged("no_such_package", "a.bin") is None
    assert not is_installed("no_such_package")
