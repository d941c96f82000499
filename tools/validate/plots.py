"""Scatter plots of predicted against measured times, one picture per table (needs matplotlib)."""

import math
from pathlib import Path

from roofwright.tools.validate.base import Comparison
from roofwright.tools.validate.run import Validation

_BAND = 0.25


def save_plots(validation: Validation, folder: Path) -> list[Path]:
    """Write TABLE.png for every table into the folder, which is made if need be; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[Comparison]] = {}
    for comparison in validation.comparisons:
        if len(comparison.measured_s):
            tables.setdefault(comparison.table, []).append(comparison)
    return [_save_one(table, group, folder / f"{table}.png") for table, group in tables.items()]


def _save_one(table: str, group: list[Comparison], path: Path) -> Path:
    from matplotlib.figure import Figure

    columns = min(4, len(group))
    rows = math.ceil(len(group) / columns)
    figure = Figure(figsize=(4 * columns, 4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, comparison in zip(axes, group, strict=False):
        _draw(axis, comparison)
    for axis in axes[len(group) :]:
        axis.axis("off")
    figure.suptitle(f"{table}: modelled against measured, band ±{100 * _BAND:.0f} %")
    figure.savefig(path, dpi=100)
    return path


def _draw(axis: object, comparison: Comparison) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    measured, predicted = 1e3 * comparison.measured_s, 1e3 * comparison.predicted_s
    ends = [float(min(measured.min(), predicted.min())) / 1.5, float(max(measured.max(), predicted.max())) * 1.5]
    axis.fill_between(ends, [e * (1 - _BAND) for e in ends], [e * (1 + _BAND) for e in ends], alpha=0.2, color="gray")
    axis.plot(ends, ends, color="gray", linewidth=0.8)
    axis.scatter(measured, predicted, s=8)
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured, ms", ylabel="modelled, ms")
    axis.set_title(f"{comparison.machine} {comparison.kind}", fontsize=9)
