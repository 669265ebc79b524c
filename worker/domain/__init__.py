"""The rules: pure functions and models, without input, output or a clock of their own."""
