"""Authentication and authorization: people, sessions, and sign-in methods."""
