"""What the queue needs of Redis, beside what Redis itself can do."""
