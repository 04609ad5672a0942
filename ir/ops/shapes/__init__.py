"""Which types and shapes follow from a graph's inputs: ONNX's inference, and its corrections."""
