"""The hierarchy and the parts that it is composed of."""
