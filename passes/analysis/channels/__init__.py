"""Which channels of a graph are one: what must shrink together, and what may."""
