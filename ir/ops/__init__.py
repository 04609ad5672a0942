"""What an ONNX operator means: one reader a family, whatever the opset spells it like."""
