"""The backend that measures the others, and takes the fastest that is right."""
