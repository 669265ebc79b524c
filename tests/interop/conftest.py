"""Fixtures of these tests."""

import pytest

from tests.interop.matrix import Matrix


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    """Takes notes of what works."""
    return Matrix()
