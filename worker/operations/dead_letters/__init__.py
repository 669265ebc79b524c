"""What operators do with messages that nobody could handle: look, replay, discard, export, import."""
