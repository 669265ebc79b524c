"""What takes text or bytes that somebody else chose: how much of it is allowed, and what it costs.

`registry.ENTRIES` has every such function of the worker's with the largest input that can reach it. The growth test
feeds each at a quarter, a half and the whole of that, and the fuzz target `growth` looks for inputs that the test does
not think of. `inventory` finds the functions that should be there, so that none can be added without.
"""
