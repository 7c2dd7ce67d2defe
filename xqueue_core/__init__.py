"""XQueue: one task queue, the same guarantees on every broker."""
