"""Two sets of records of the same cells, paired: what changed, in nats and in seconds."""
