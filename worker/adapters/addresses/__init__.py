"""Where broker and ledger are and how to connect to them, read and checked before the first connection."""
