"""Measurements, each bounded in time: `python -m bench.NAME`."""
