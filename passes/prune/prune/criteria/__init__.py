"""What makes a weight worth keeping: one criterion a file."""
