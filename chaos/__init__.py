"""Proof of the guarantees: workers under faults, and an account of every letter from the outside."""
