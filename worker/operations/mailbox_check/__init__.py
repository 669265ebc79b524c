"""The check of a mailbox: every step from its servers' names to its domain's records, and what a person can do."""
