"""Open sizes of what is traced: who decided about them, what was declared, what computes them."""
