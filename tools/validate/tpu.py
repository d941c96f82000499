"""Readers of TPU tables: training steps on a TPU v2 board, and the six applications of the TPU v1 paper."""

import numpy as np

from roofwright.targets import load_target
from roofwright.tools.validate.base import Comparison, Reader, Result, Table, Tally
from roofwright.tools.validate.tpuv1_apps import read_tpuv1
from roofwright.tools.validate.training import Nets, Steps, price

_UNDECIDED_POINTS = 5  # percentage points between two shares below which a trace names no binding resource
_WAIT_POINTS = 10


def _priced(table: Table) -> tuple[list[dict[str, object]], Steps]:
    table.require("layers", "nodes", "input", "output", "global_batch")
    records = list(table.records())
    return records, price(Nets.of(records), load_target("tpuv2", stack="tf-tpu-training"))


def _label(record: dict[str, object]) -> str:
    return "{layers}x{nodes}, {input} to {output}, batch {global_batch}".format(**record)


def read_steps(table: Table) -> list[Result]:
    """Step times of fully connected nets."""
    table.require("ms_per_step")
    records, steps = _priced(table)
    parts = (steps.host_s, steps.matrix_s, steps.parameters_s, steps.all_reduce_s, steps.layers_s)
    named = zip(steps.binding(), *parts, strict=True)
    reasons = tuple(
        f"{name}: host {host * 1e3:.1f}, matrix {a * 1e3:.1f}, parameters {b * 1e3:.1f}, all-reduce {c * 1e3:.1f}, "
        f"layers {d * 1e3:.1f} ms"
        for name, host, a, b, c, d in named
    )
    measured_s = np.array([r["ms_per_step"] for r in records], np.float64) / 1e3
    labels = tuple(map(_label, records))
    return [Comparison(table.name, "tpuv2", "training step", steps.step_s, measured_s, labels, reasons)]


def read_traces(table: Table) -> list[Result]:
    """The binding resource of each profiler trace; undecided ones are not scored."""
    table.require("flops_pct", "infeed_wait_pct", "hbm_bw_pct")
    records, steps = _priced(table)
    answers = [_traced(*(float(r[c]) for c in ("infeed_wait_pct", "flops_pct", "hbm_bw_pct"))) for r in records]  # type: ignore[arg-type]  # checked by float
    scored = [(r, want, got) for r, want, got in zip(records, answers, steps.binding(), strict=True) if want]
    misses = tuple(f"{_label(r)}: {got}, measured {want}" for r, want, got in scored if want != got)
    what = "binding resource (input, memory, matrix) named"
    return [Tally(table.name, "tpuv2", "training trace", what, len(scored) - len(misses), len(scored), misses)]


def _traced(wait: float, flops: float, memory: float) -> str | None:
    if wait >= _WAIT_POINTS:
        return "input"
    if abs(flops - memory) < _UNDECIDED_POINTS:
        return None
    return "matrix" if flops > memory else "memory"


def read_fits(table: Table) -> list[Result]:
    """Which nets run out of device memory."""
    table.require("outcome")
    target = load_target("tpuv2", stack="tf-tpu-training")
    records, steps = _priced(table)
    full = steps.resident_bytes > target.device_memory.capacity_bytes
    wrong = [r for r, out in zip(records, full, strict=True) if (r["outcome"] == "OOM") != out]
    right, misses = len(records) - len(wrong), tuple(map(_label, wrong))
    return [Tally(table.name, "tpuv2", "training memory", "fits or not", right, len(records), misses)]


READERS: dict[str, Reader] = {
    "paradnn_tpuv2_fc.json": read_steps,
    "paradnn_tpuv2_trace.json": read_traces,
    "paradnn_tpuv2_memfit.json": read_fits,
    "tpuv1_isca17.json": read_tpuv1,
}
