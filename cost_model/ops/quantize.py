"""Conversions between floating point and integers with a scale. Scales per tensor, axis or block cost the same."""

from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.work import Work

_QUANTIZE_LANES = 4  # multiply by 1 / scale, round, two bounds
_DEQUANTIZE_LANES = 1  # multiply (the conversion rides along)


def quantize_linear(ask: Facts) -> Work:
    """QuantizeLinear: 4 lane operations per element, 5 with a zero point; 1 / scale is one division per scale."""
    lanes = _QUANTIZE_LANES + (1 if ask.input(2) else 0)
    return ask.work("elementwise", lanes * ask.size(), ask.size(1))


def dequantize_linear(ask: Facts) -> Work:
    """DequantizeLinear: 1 lane operation per element, 2 with a zero point."""
    lanes = _DEQUANTIZE_LANES + (1 if ask.input(2) else 0)
    return ask.work("elementwise", lanes * ask.size())


def dynamic_quantize_linear(ask: Facts) -> Work:
    """DynamicQuantizeLinear: minimum and maximum of the tensor, then quantisation with a zero point."""
    return ask.work("reduce", (2 + _QUANTIZE_LANES + 1) * ask.size(), 2)
