"""Images in memory, and the files that they come from."""
