"""What a network is laid out as: groups of nodes, placements, integers."""
