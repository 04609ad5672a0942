"""The TVM backend: a graph -> machine code, through kernels of our own in a blocked layout."""
