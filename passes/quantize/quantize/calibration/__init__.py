"""Ranges of activations from feeds: observers, and the run that fills them."""
