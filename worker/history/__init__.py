"""The history: every published result about letters and mailboxes, kept so that people can look up what happened."""
