"""The console: pages for operators and support. A process of its own, of which a worker imports nothing."""
