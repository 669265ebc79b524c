"""Signing in as a mailbox: secrets and their keys, OAuth 2 tokens, and redaction of both."""
