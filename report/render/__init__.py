"""How a table, a number and a figure come to look."""
