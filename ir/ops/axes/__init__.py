"""How the axes of an operator's inputs and outputs correspond."""
