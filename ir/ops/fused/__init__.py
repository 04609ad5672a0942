"""The fused operators of the domain `planish`: names, attributes, bodies."""
