"""Whom the worker is compared with."""
