"""The configuration snapshot: its model, how it determines the sender, and its problems."""
