"""Roofwright: compiler passes that move an ONNX graph toward the roof of one named machine."""

__version__ = "0.1.0"
