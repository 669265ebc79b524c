"""Who may use the console: people, their sessions, and the ways to sign in."""
