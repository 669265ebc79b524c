"""Sends mail for a product as its customers, through each customer's own mailbox."""

__version__ = "0.1.0"
