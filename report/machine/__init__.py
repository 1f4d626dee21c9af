"""What was measured of a machine: ladder and gate."""
