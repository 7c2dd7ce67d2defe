"""Other task queues on the same Redis, beside the raw client's limit in the same run."""
