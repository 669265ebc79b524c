"""Letters and copies against mail servers and readers that this project did not write."""
