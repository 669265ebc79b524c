"""Connections to the world: the egress guard, HTTP and DNS through it, TLS, the files of events."""
