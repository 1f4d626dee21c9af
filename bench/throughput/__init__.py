"""Images per second of one model alone."""
