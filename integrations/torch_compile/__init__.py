"""`torch.compile(module, backend="planish")`: networks for inference, on the CPU."""
