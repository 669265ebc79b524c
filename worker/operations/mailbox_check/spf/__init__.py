"""Sender Policy Framework (RFC 7208): which hosts a domain authorizes to send for it."""
