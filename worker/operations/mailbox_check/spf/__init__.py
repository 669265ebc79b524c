"""Sender Policy Framework (RFC 7208): which hosts a domain lets send for it."""
