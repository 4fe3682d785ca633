"""How the weights that the project ships are made."""
