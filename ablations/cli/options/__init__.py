"""Options of the commands: what several share, and what chooses or narrows a study."""
