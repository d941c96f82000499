"""The before/after report as data: what was there, what came out, what every pass gained, what it left alone.

Every time and byte in it is *modelled* unless its key says `bound`; what was measured (the check's) says so.
The JSON form is versioned, sorted, and free of paths and clocks, so that two runs of the same job give the same bytes.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from roofwright.cost_model import Estimate, Fallback, NodeWork, Schedule, fallbacks, op_counts
from roofwright.passes.base import Record
from roofwright.passes.check import Check
from roofwright.passes.layers import LEVERS, Layer, layers, over
from roofwright.passes.memory import MemoryChange

SCHEMA = "roofwright.report/1"


@dataclass(frozen=True)
class Side:
    """The figures of one side, before or after.

    Attributes:
        nodes: of the graph, bodies included; `ops` says how many of each operator.
        kernels: what runs as one unit.
        parameter_bytes: constants read by nodes, as the graph stores them.
        off_chip_bytes: device memory and link, each transfer once.
        on_chip_bytes: most bytes in on-chip memory at a time.
        utilisation: share of the special unit's peak over the device time.
        period_s, prologue_s, epilogue_s: of back-to-back requests: from one to the next, the first input's way in, the
            last output's way out.
        causes_s: seconds lost to each of the six causes; with `ideal_s` they sum to `latency_s`.
        bound_s, bound_bytes: proven lower bounds on device time and off-chip bytes.
        fallbacks: what runs beside the special unit, where and why, the slowest group first.
        layers: every kernel with its cost.
    """

    nodes: int
    ops: Mapping[str, int]
    kernels: int
    macs: float
    parameter_bytes: float
    off_chip_bytes: float
    on_chip_bytes: float
    utilisation: float
    latency_s: float
    device_s: float
    period_s: float
    prologue_s: float
    epilogue_s: float
    ideal_s: float
    causes_s: Mapping[str, float]
    clock_ratio: float
    bound_s: float
    bound_bytes: float
    not_modelled: tuple[tuple[str, str, str], ...]
    fallbacks: tuple[Fallback, ...]
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, estimate: Estimate, works: Iterable[NodeWork], parameter_bytes: float) -> "Side":
        """Summarise an estimate and the works it was made from."""
        ops = op_counts(works)
        return cls(
            nodes=sum(ops.values()),
            ops=ops,
            kernels=len(estimate.kernels),
            macs=estimate.macs,
            parameter_bytes=parameter_bytes,
            off_chip_bytes=estimate.off_chip_bytes,
            on_chip_bytes=estimate.on_chip_bytes,
            utilisation=estimate.utilisation,
            latency_s=estimate.latency_s,
            device_s=estimate.device_s,
            period_s=estimate.period_s,
            prologue_s=estimate.steady.input_s,
            epilogue_s=estimate.steady.output_s,
            ideal_s=estimate.evaluations.totals()[0],
            causes_s=estimate.evaluations.causes(),
            clock_ratio=estimate.clock_ratio,
            bound_s=estimate.bound.total_s,
            bound_bytes=estimate.bound.off_chip_bytes + estimate.link_bytes,
            not_modelled=estimate.not_modelled,
            fallbacks=fallbacks(estimate),
            layers=layers(estimate),
        )


@dataclass(frozen=True)
class Gap:
    """What the result reaches against proven lower bounds, which no schedule of this graph on this machine beats.

    Attributes:
        device_s, bound_s: device time, modelled and bound; `time_ratio`: the first over the second.
        off_chip_bytes, bound_bytes: device memory and link, each transfer once; `bytes_ratio` likewise.
    """

    device_s: float
    bound_s: float
    time_ratio: float
    off_chip_bytes: float
    bound_bytes: float
    bytes_ratio: float

    @classmethod
    def of(cls, side: Side) -> "Gap":
        """The gap of one side."""
        times, moved = (side.device_s, side.bound_s), (side.off_chip_bytes, side.bound_bytes)
        return cls(*times, over(*times), *moved, over(*moved))


@dataclass(frozen=True)
class PassReport:
    """What one pass of the pipeline did, and what it gained by the cumulative re-estimate after it.

    `schedules`: it wrote the schedule and left the graph alone.
    """

    name: str
    numerics: str
    applied: int
    gain_s: float
    rolled_back: str = ""
    records: tuple[Record, ...] = ()
    schedules: bool = False


@dataclass(frozen=True)
class Report:
    """Everything `optimize` found out.

    Attributes:
        target, target_title: the machine.
        batch: samples per request, before and after.
        passes: in the order they ran.
        assumptions: what the figures take for granted.
        check: original against optimized.
        memory: what strips changed; None where nobody asked for them.
        estimate: what `after` was made from; not part of the JSON form.
        seconds: our own run time per stage; not part of the JSON form.
    """

    target: str
    target_title: str
    batch: tuple[int, int]
    before: Side
    after: Side
    passes: tuple[PassReport, ...]
    assumptions: tuple[str, ...]
    check: Check
    schedule: Schedule | None = None
    memory: MemoryChange | None = None
    estimate: Estimate | None = None
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def rewrites(self) -> tuple[tuple[str, Record], ...]:
        """(pass, record) of every rewrite that changed the graph, in the order in which they were applied."""
        found = [(p.name, r) for p in self.passes for r in p.records if r.applied and r.number]
        return tuple(sorted(found, key=lambda item: item[1].number))

    @property
    def near_misses(self) -> tuple[tuple[str, Record], ...]:
        """(pass, record) of every pattern that is there in the result and was left alone, each once."""
        found = {(p.name, r.rewrite, r.anchor, r.reason): r for p in self.passes for r in p.records if not r.applied}
        return tuple((name, record) for (name, *_), record in found.items())

    @property
    def gap(self) -> Gap:
        """How far the result is from its roof."""
        return Gap.of(self.after)

    @property
    def changed(self) -> bool:
        """Whether any pass changed the graph."""
        return any(p.applied and not p.schedules for p in self.passes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys; figures are modelled except under `bound` keys and `check`."""
        numerics = {item.name: item.numerics for item in self.passes}
        return {
            "schema": SCHEMA,
            "figures": "modelled; bound_* are proven lower bounds; check is measured on onnxruntime",
            "target": {"name": self.target, "title": self.target_title},
            "batch": {"before": self.batch[0], "after": self.batch[1]},
            "gap": asdict(self.gap),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "passes": [_pass(p) for p in self.passes],
            "rewrites": [_rewrite(name, record, numerics[name]) for name, record in self.rewrites],
            "levers": dict(LEVERS),
            "near_misses": [_near_miss(name, record) for name, record in self.near_misses],
            "assumptions": list(self.assumptions),
            "check": asdict(self.check),
            "memory": None if self.memory is None else asdict(self.memory),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """The JSON form, sorted and indented; infinities and NaN are written as null."""
        return json.dumps(_finite(self.to_dict()), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _pass(report: PassReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "numerics": report.numerics,
        "schedules": report.schedules,
        "applied": report.applied,
        "gain_s": report.gain_s,
        "rolled_back": report.rolled_back,
    }


def _rewrite(name: str, record: Record, numerics: str) -> dict[str, Any]:
    return {
        "number": record.number,
        "pass": name,
        "rewrite": record.rewrite,
        "anchor": record.anchor,
        "op": record.op,
        "numerics": record.numerics or numerics,
        "consumed": [{"op": op, "name": node} for op, node in record.taken],
        "produced": [{"op": op, "name": node} for op, node in record.produced],
        "gain_s": record.gain_s,
        "gain_bytes": record.gain_bytes,
    }


def _near_miss(name: str, record: Record) -> dict[str, Any]:
    return {
        "pass": name,
        "rewrite": record.rewrite,
        "anchor": record.anchor,
        "op": record.op,
        "reason": record.reason,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not -float("inf") < value < float("inf") else value
