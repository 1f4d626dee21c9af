"""The clock: how fast models train and infer on the machine at hand."""
