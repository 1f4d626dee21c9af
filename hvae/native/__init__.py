"""The training step in C, its compilation and its ctypes."""
