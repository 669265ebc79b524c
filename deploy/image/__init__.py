"""Builds the image without an engine, and tries it: `python -m deploy.image`."""
