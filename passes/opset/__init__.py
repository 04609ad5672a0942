"""Models in a later opset."""
