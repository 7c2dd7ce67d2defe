"""The client: what turns a call into an accepted task, and waits for its end."""
