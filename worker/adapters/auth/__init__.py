"""How the worker signs in as a mailbox: secrets and their keys, OAuth 2 tokens, and keeping both out of texts."""
