"""QuantizeLinear and DequantizeLinear: nodes, their parameters, pairs, and stored weights."""
