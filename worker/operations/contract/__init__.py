"""The contract as files: JSON Schemas and the AsyncAPI document."""
