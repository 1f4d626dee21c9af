"""Records as frames, and the statistics of frames."""
