"""A mailbox in this worker and in all of them: its gate, backlog, connection leases and suspensions."""
