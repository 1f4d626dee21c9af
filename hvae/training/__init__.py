"""Training of one to many models at once: two engines, one call."""
