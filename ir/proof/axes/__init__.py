"""Along which axes of a window all is local, and which sizes stand for others."""
