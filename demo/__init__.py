"""The demo: real servers, the real worker, letters through every rule, and a look into the inboxes."""
