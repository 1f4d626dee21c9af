"""The throughput ladder: from the documented loop to packs of models."""
