"""What operators compute and no single function of PyTorch does; called from the fx graph."""
