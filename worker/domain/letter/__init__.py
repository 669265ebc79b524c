"""From an event to a letter's bytes: plan, headers, MIME, HTML and plain text."""
