"""A Relax program under construction, and what each group of nodes adds to it."""
