"""Interpolation of PyTorch, in ONNX: sizes in doubles, the pixels that PyTorch picks."""
