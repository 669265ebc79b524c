"""What happens to one event, from its arrival to its published outcome."""
