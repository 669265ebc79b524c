"""What the worker publishes: results, and their CloudEvents messages."""
