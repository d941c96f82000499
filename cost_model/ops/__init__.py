"""What each ONNX operator asks of a machine, one family of counting rules per module; the table is in `registry`."""
