"""What kernels are specified by: machine, layout, element-wise chains."""
