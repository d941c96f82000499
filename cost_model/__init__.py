"""What work costs there: pure, vectorised with numpy, never changing a graph."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.cost_model.ahead import Prefetched, Room, latest
    from roofwright.cost_model.channel_cost import ChannelCost
    from roofwright.cost_model.channel_prices import group_steps
    from roofwright.cost_model.channel_runs import ChannelRun, ChannelRuns
    from roofwright.cost_model.costing import Costing, Estimate, estimate
    from roofwright.cost_model.fallback import Fallback, fallbacks
    from roofwright.cost_model.footprint import live_bytes, memory_bytes
    from roofwright.cost_model.graph_work import NodeWork
    from roofwright.cost_model.kernels import KernelWork
    from roofwright.cost_model.losses import CAUSES, Evaluations
    from roofwright.cost_model.matrix_unit import unit_time
    from roofwright.cost_model.memory import effective_bytes_per_s
    from roofwright.cost_model.model import GraphModel
    from roofwright.cost_model.overlap import engine_steps
    from roofwright.cost_model.passing import ALIGNMENT_BYTES
    from roofwright.cost_model.roof import Roof
    from roofwright.cost_model.runs import Candidates, Run, Runs
    from roofwright.cost_model.schedule import (
        Halo,
        Kernel,
        Loop,
        NodeRef,
        Placement,
        Prefetch,
        Schedule,
        ScheduleError,
        Share,
        StorageAssumption,
        Tiling,
    )
    from roofwright.cost_model.schedule_check import check_capacity, peak_bytes
    from roofwright.cost_model.schedule_json import from_json, json_schema, to_json
    from roofwright.cost_model.shares import Splits
    from roofwright.cost_model.stages import port_of
    from roofwright.cost_model.strip_cost import StripCost
    from roofwright.cost_model.strips import by_sample
    from roofwright.cost_model.timeline import Timeline, spans_of
    from roofwright.cost_model.totals import macs, op_counts, parameter_bytes, parameters
    from roofwright.cost_model.traffic import holds_weights
    from roofwright.cost_model.units import Nests, UnitTime
    from roofwright.cost_model.work import LoopNest, Operand, Work

_HOMES = {
    "LoopNest": "work",
    "Operand": "work",
    "Work": "work",
    "NodeWork": "graph_work",
    "GraphModel": "model",
    "Nests": "units",
    "UnitTime": "units",
    "KernelWork": "kernels",
    "unit_time": "matrix_unit",
    "Kernel": "schedule",
    "Loop": "schedule",
    "NodeRef": "schedule",
    "Placement": "schedule",
    "Prefetch": "schedule",
    "Schedule": "schedule",
    "ScheduleError": "schedule",
    "StorageAssumption": "schedule",
    "Tiling": "schedule",
    "from_json": "schedule_json",
    "json_schema": "schedule_json",
    "to_json": "schedule_json",
    "check_capacity": "schedule_check",
    "peak_bytes": "schedule_check",
    "Prefetched": "ahead",
    "Room": "ahead",
    "latest": "ahead",
    "Timeline": "timeline",
    "spans_of": "timeline",
    "port_of": "stages",
    "engine_steps": "overlap",
    "holds_weights": "traffic",
    "ALIGNMENT_BYTES": "passing",
    "CAUSES": "losses",
    "Evaluations": "losses",
    "Candidates": "runs",
    "Costing": "costing",
    "Fallback": "fallback",
    "fallbacks": "fallback",
    "Estimate": "costing",
    "estimate": "costing",
    "Roof": "roof",
    "macs": "totals",
    "op_counts": "totals",
    "parameters": "totals",
    "parameter_bytes": "totals",
    "live_bytes": "footprint",
    "memory_bytes": "footprint",
    "Run": "runs",
    "Runs": "runs",
    "effective_bytes_per_s": "memory",
    "StripCost": "strip_cost",
    "Halo": "schedule",
    "Share": "schedule",
    "Splits": "shares",
    "by_sample": "strips",
    "ChannelCost": "channel_cost",
    "ChannelRun": "channel_runs",
    "ChannelRuns": "channel_runs",
    "group_steps": "channel_prices",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "LoopNest",
    "Operand",
    "Work",
    "NodeWork",
    "GraphModel",
    "Nests",
    "UnitTime",
    "KernelWork",
    "unit_time",
    "Kernel",
    "Loop",
    "NodeRef",
    "Placement",
    "Prefetch",
    "Schedule",
    "ScheduleError",
    "StorageAssumption",
    "Tiling",
    "from_json",
    "json_schema",
    "to_json",
    "check_capacity",
    "peak_bytes",
    "Prefetched",
    "Room",
    "latest",
    "Timeline",
    "spans_of",
    "port_of",
    "engine_steps",
    "holds_weights",
    "ALIGNMENT_BYTES",
    "CAUSES",
    "Evaluations",
    "Candidates",
    "Costing",
    "Fallback",
    "fallbacks",
    "Estimate",
    "estimate",
    "Roof",
    "macs",
    "op_counts",
    "parameters",
    "parameter_bytes",
    "live_bytes",
    "memory_bytes",
    "Run",
    "Runs",
    "effective_bytes_per_s",
    "StripCost",
    "Halo",
    "Share",
    "Splits",
    "by_sample",
    "ChannelCost",
    "ChannelRun",
    "ChannelRuns",
    "group_steps",
]
__getattr__ = attach(__name__, _HOMES)
