"""What is copied whole into both sides of a comparison: the same measuring code for both."""
