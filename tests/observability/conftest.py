"""An office for the scene, as the acceptance tests have it."""

from tests.acceptance.conftest import bare_office

__all__ = ["bare_office"]
