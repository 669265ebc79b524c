"""The history: what was published about letters and mailboxes, kept for people who ask what became of them."""
