"""What the models of a study draw."""
