"""A hierarchical variational autoencoder: model, training, evaluation, records."""

__version__ = "0.1.0"
