"""The console: web pages for operators and support. It runs as its own process; the worker imports nothing from it."""
