"""What runs a compiled network, and the file it lies in; needs numpy and TVM alone."""
