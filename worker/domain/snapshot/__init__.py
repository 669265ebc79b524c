"""The configuration snapshot: its model, who sends by it, and what is wrong with it."""
