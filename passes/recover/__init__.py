"""Training that brings back what compression has lost."""
