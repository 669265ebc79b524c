"""Sent folders over IMAP (RFC 3501)."""
