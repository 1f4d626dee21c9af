"""What a run leaves behind: records, the files beside them, what made them."""
