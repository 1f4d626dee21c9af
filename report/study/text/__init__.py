"""What the page of a study says in words."""
