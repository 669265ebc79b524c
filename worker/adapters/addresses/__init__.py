"""Addresses of broker and ledger and how to connect to them, parsed and validated before the first connection."""
