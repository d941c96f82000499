"""Resampling: weighted windows of neighbours, one multiply-add per neighbour and output."""

from math import ceil, prod

from roofwright.cost_model.ops.facts import Facts, Unmodelled
from roofwright.cost_model.work import Work

_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}  # neighbours along one axis


def resize(ask: Facts) -> Work:
    """Resize, Upsample: `nearest` moves elements; else taps^(axes that change) multiply-adds per output.

    With `antialias` a shrinking axis has ceil(taps x in / out) neighbours. Scales, sizes and roi are not read.
    """
    source, out = ask.shape(), ask.out_shape()
    skip = (1, 2, 3)
    mode = ask.attr("mode", "nearest")
    cropped = ask.attr("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if source == out and not cropped:
        return ask.alias()
    if mode == "nearest":
        return ask.work("move", touched={0: min(prod(source), prod(out))}, skip=skip)
    taps, wide = _TAPS[mode], bool(ask.attr("antialias", 0))
    windows = prod(
        ceil(taps * max(1.0, i / o)) if wide else taps for i, o in zip(source, out, strict=True) if o and i != o
    )
    touched = min(prod(source), windows * prod(out))
    return ask.work("pool", windows * prod(out), touched={0: touched}, skip=skip)


def grid_sample(ask: Facts) -> Work:
    """GridSample: per output the neighbours of a sample; per sample two steps and a rounding along every axis."""
    axes, out = len(ask.shape()) - 2, ask.out_shape()
    taps = _TAPS[ask.attr("mode", "linear")] ** axes
    samples = prod(out) // out[1] if out[1] else 0
    return ask.work("pool", taps * prod(out) + 3 * axes * samples)


def affine_grid(ask: Facts) -> Work:
    """AffineGrid: one multiply-add per coordinate of every output."""
    return ask.work("elementwise", ask.out_size() * ask.out_shape()[-1], skip=(1,))


def roi_align(ask: Facts) -> Work:
    """RoiAlign: sampling_ratio^2 bilinear samples (four taps, one sum or maximum) per output."""
    ratio = int(ask.attr("sampling_ratio", 0))
    if ratio <= 0:
        raise Unmodelled("sampling_ratio is 0: the number of samples depends on the values of the regions")
    return ask.work("pool", 5 * ratio**2 * ask.out_size())
