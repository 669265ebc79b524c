"""The mailbox check: every step from resolving its servers to its domain's DNS records, with advice for people."""
