"""The real servers that the demo, the tests and the benches use, started privately and stopped completely."""
