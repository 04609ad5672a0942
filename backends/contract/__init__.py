"""What a backend is, and which there are."""
