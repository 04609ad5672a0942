"""What is known of a graph: costs, channels, sizes, value ranges, inner tensors."""
