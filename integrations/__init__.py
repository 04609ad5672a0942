"""planish inside other compilers: each host in a room of its own, imported by that host alone."""
