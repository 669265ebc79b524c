"""Operators' tasks: topology, mailbox checks, dead letters."""
