"""What a trained model draws, and the measurements of a reproduction."""
