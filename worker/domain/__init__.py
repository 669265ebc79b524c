"""The rules: pure functions and models, without I/O or a clock of their own."""
