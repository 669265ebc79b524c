"""A mailbox in this worker and across workers: its gate, backlog, connection leases and suspensions."""
