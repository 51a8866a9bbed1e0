"""Fixtures of several test files."""

import pytest
from workflow import TINY, copy_project, write_overlay


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The project without results, for dry runs."""
    project = copy_project(tmp_path_factory.mktemp("fresh"))
    write_overlay(project, "tiny", TINY)
    return project
