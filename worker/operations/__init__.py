"""What operators do: topology, checks, dead letters."""
