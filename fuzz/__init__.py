"""Coverage-guided fuzzing of everything that takes bytes from outside.

`python -m fuzz` searches for a bounded time with atheris; the tests replay the corpus through the same targets
without it.
"""
