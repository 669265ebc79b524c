"""Outbound connections: the egress guard, HTTP and DNS through it, TLS, and events' files."""
