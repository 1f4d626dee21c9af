"""All test metrics of a trained model."""
