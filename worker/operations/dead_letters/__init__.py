"""What operators do with dead letters: list, show, replay, discard, export, import."""
