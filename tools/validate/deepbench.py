"""Readers of DeepBench: isolated library kernels, GEMM and convolution, on GPUs, many-core and phone CPUs.

One description per machine, written from its spec sheet; the stack follows from the cuDNN version in the results' own
header. Gradients are compared on GPUs only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roofwright.cost_model.library import KernelTime, kernels_of
from roofwright.cost_model.simt_conv import Direction
from roofwright.cost_model.units import Bools, Nests
from roofwright.targets import Simt, Target, load_target
from roofwright.tools.validate.base import Comparison, Reader, Result, Table, load_all

# P100's header names a workstation board, which takes cards only.
MACHINES: Mapping[str, str] = {
    "NV_V100": "v100",
    "NV_T4": "t4",
    "NV_P100": "p100_pcie",
    "NV_TitanXp": "titan_xp",
    "NV_1080Ti": "gtx1080ti",
    "NV_TitanX_Pascal": "titan_x_pascal",
    "NV_TitanX": "titan_x_maxwell",
    "NV_M40": "m40",
    "AMD_VegaFE": "vega_fe",
    "AMD_MI25": "mi25",
    "IA_KNL7250": "knl_7250",
    "Raspberry_Pi_3": "cortex_a53",
    "iPhone_7": "apple_a10",
    "iPhone_6": "apple_a8",
}
_STACKS: Mapping[str, str] = {"5": "cudnn5", "6": "cuda8", "7": "cudnn7"}  # cuDNN's major version -> stack
_DTYPES: Mapping[str, str] = {"fp32": "float32", "fp16_mul_fp32_acc": "float16", "int8_acc32": "int8"}
_CONV = ("n", "c", "h", "w", "k", "r", "s", "pad_h", "pad_w", "stride_h", "stride_w")
_DIRECTIONS: Mapping[str, tuple[str, Direction]] = {
    "ms_fwd": ("forward", "forward"),
    "ms_bwd_inputs": ("data gradient", "data"),
    "ms_bwd_params": ("weight gradient", "weights"),
}
_Record = dict[str, Any]


@dataclass(frozen=True)
class _Group:
    """Rows of one device, mode and precision."""

    device: str
    precision: str
    target: Target
    records: tuple[_Record, ...]


def load(folder: Path) -> list[Result]:
    """The comparisons of whichever of the two tables are in the folder."""
    return load_all(folder, READERS)


def read_gemm(table: Table) -> list[Result]:
    """Kernel times of C (m, n) = A (m, k) B (k, n), column-major, in float32, float16 and int8."""
    table.require("device", "mode", "precision", "m", "n", "k", "trans_a", "trans_b", "ms")
    return [_gemm(table, group) for group in _groups(table)]


def read_conv(table: Table) -> list[Result]:
    """Kernel times of convolutions, forward and both gradients."""
    table.require("device", "mode", "precision", *_CONV, *_DIRECTIONS)
    results: list[Result] = []
    for group in _groups(table):
        on_gpu = group.target.engines[0].kind == "simt"
        for column, (kind, direction) in _DIRECTIONS.items():
            records = [r for r in group.records if r[column] is not None]
            if records and (on_gpu or direction == "forward"):
                results.append(_conv(table, group, records, column, kind, direction))
    return results


def conv_nests(records: Sequence[Mapping[str, Any]]) -> Nests:
    """Loop nests of rows with the columns n c h w k r s pad and stride; floor division as in cuDNN."""
    n, c, h, w, k, r, s, pad_h, pad_w, stride_h, stride_w = (
        np.array([row[name] for row in records], np.int64) for name in _CONV
    )
    out_h, out_w = (h + 2 * pad_h - r) // stride_h + 1, (w + 2 * pad_w - s) // stride_w + 1
    one = np.ones_like(n)
    return Nests(one, n, out_h, out_w, k, c, r, s, stride_h, stride_w, one, one, h, w, one)


def _groups(table: Table) -> list[_Group]:
    """Rows by device, mode and precision, of the machines that are known."""
    found: dict[tuple[str, str, str], list[_Record]] = {}
    for record in table.records():
        if record["device"] in MACHINES and record["precision"] in _DTYPES:
            found.setdefault((record["device"], record["mode"], record["precision"]), []).append(record)
    headers = table.document.get("devices", {})
    return [
        _Group(device, precision, _target(device, headers.get(f"{device}/{mode}", {})), tuple(records))
        for (device, mode, precision), records in found.items()
    ]


def _target(device: str, header: Mapping[str, str]) -> Target:
    """The machine with the stack of its header's cuDNN version."""
    version = str(header.get("Cudnn Version", "")).split(".")[0]
    return load_target(MACHINES[device], stack=_STACKS.get(version))


def _gemm(table: Table, group: _Group) -> Comparison:
    records = group.records
    m, n, k = (np.array([r[name] for r in records], np.int64) for name in "mnk")
    depth_first = np.array([r["trans_a"] == "T" for r in records])
    kernels = _kernels(Nests.gemm(m, n, k), group, "forward", depth_first)
    labels = tuple(f"{r['m']}x{r['n']}x{r['k']} {r['trans_a']}{r['trans_b']}" for r in records)
    return _compared(table, group, f"gemm {_short(group)}", kernels, [r["ms"] for r in records], labels)


def _conv(
    table: Table, group: _Group, records: Sequence[_Record], column: str, kind: str, direction: Direction
) -> Comparison:
    kernels = _kernels(conv_nests(records), group, direction, None)
    labels = tuple(_label(r) for r in records)
    return _compared(table, group, f"conv {_short(group)} {kind}", kernels, [r[column] for r in records], labels)


def _kernels(nests: Nests, group: _Group, direction: Direction, depth_first: Bools | None) -> KernelTime:
    dtype = _DTYPES[group.precision]
    engines = _engines(group.target, dtype)
    return kernels_of(nests, group.target, dtype, direction, engines=engines, depth_first=depth_first)


def _engines(target: Target, dtype: str) -> tuple[str, ...]:
    """Engines of a GPU that do what the benchmark asks of them; empty: any.

    int8 in plain layouts runs as dot products on the lanes with cuBLAS 10 and cuDNN 7; products of float16 with float32
    sums need tensor cores, lanes would sum in float16.
    """
    with_unit = [e.name for e in target.engines if isinstance(e.geometry, Simt) and e.geometry.unit]
    without = [e.name for e in target.engines if isinstance(e.geometry, Simt) and not e.geometry.unit]
    return tuple({"int8": without, "float16": with_unit}.get(dtype, []))


def _compared(
    table: Table, group: _Group, kind: str, kernels: KernelTime, ms: Sequence[float], labels: tuple[str, ...]
) -> Comparison:
    reasons = tuple(kernels.reason(i) for i in range(len(labels)))
    measured_s = np.array(ms, np.float64) / 1e3
    return Comparison(table.name, group.target.name, kind, kernels.seconds, measured_s, labels, reasons)


def _short(group: _Group) -> str:
    return group.precision.split("_")[0]


def _label(record: _Record) -> str:
    return "{n}x{c}x{h}x{w}, {k} filters {r}x{s}, pad {pad_h},{pad_w}, stride {stride_h},{stride_w}".format(**record)


READERS: dict[str, Reader] = {"deepbench_gemm.json": read_gemm, "deepbench_conv.json": read_conv}
