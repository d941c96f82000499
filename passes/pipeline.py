"""The pipeline: every pass by name, the default order with a reason per line, and optimize()."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from roofwright.graph import UsageError, model_sidecar, read
from roofwright.passes.base import Pass
from roofwright.passes.cleanup import (
    CommonSubexpressions,
    ConstantIf,
    Constants,
    DeadCode,
    FoldConstants,
    Identities,
    InlineFunctions,
    Qdq,
    Shapes,
)
from roofwright.passes.flow import run_passes
from roofwright.passes.fusion import (
    FuseActivations,
    FuseAffine,
    FuseBatchNorm,
    FuseComposites,
    FuseConcat,
    FuseDeadChannels,
    FuseGemm,
    FuseJoined,
    FuseLinearChain,
    FusePad,
    FuseScales,
    FuseSiblings,
    SimplifyArithmetic,
    SplitEinsum,
)
from roofwright.passes.layout import AbsorbTransposes, MoveTransposes
from roofwright.passes.options import Options, Result
from roofwright.passes.report import Report
from roofwright.passes.scheduling import (
    Engines,
    FuseBlocks,
    FuseChannels,
    Kernels,
    PlaceTensors,
    PrefetchWeights,
    Tiles,
)
from roofwright.passes.units import ChannelShuffles
from roofwright.targets import Target, load_target

PASSES: Mapping[str, type[Pass]] = {
    "inline-functions": InlineFunctions,  # no other pass looks inside a function
    "constants": Constants,  # one form of constants, so that every later pattern sees initializers
    "fold-constants": FoldConstants,  # exporters hide BatchNorm statistics behind casts and expands
    "constant-if": ConstantIf,  # a branch that is never taken must not block anything
    "identities": Identities,  # what does nothing stands between a pattern's nodes
    "split-einsum": SplitEinsum,  # its Reshapes and Transposes go where the next passes put them
    "shapes": Shapes,  # one Reshape or Transpose where exporters write chains
    "common-subexpressions": CommonSubexpressions,  # after shapes, so that equal chains look equal
    "move-transposes": MoveTransposes,  # after shapes, which merge chains; before the folds that a Transpose stands in
    "absorb-transposes": AbsorbTransposes,  # those that could not be moved away
    "fuse-composites": FuseComposites,  # before scales are folded out of the patterns
    "simplify-arithmetic": SimplifyArithmetic,  # of what is no part of a larger pattern
    "fuse-pad": FusePad,  # before BatchNorm, whose pre-Conv form needs to know the real padding
    "fuse-batch-norm": FuseBatchNorm,  # the largest gain: a whole pass over the activations
    "fuse-gemm": FuseGemm,  # gives a bias a place to be folded into
    "fuse-affine": FuseAffine,  # after BatchNorm: scale and shift that are left
    "fuse-scales": FuseScales,  # one number, which may travel further than a vector
    "fuse-joined": FuseJoined,  # what those two could not reach: behind a Concat or a pooling
    "fuse-linear-chain": FuseLinearChain,  # scales are gone from between two products now
    "fuse-dead-channels": FuseDeadChannels,  # a folded scale of 0 makes a row of zeros
    "channel-shuffles": ChannelShuffles,  # when convolutions are alone between the shuffles
    "fuse-activations": FuseActivations,  # last of the fusions: it needs the others' neighbours
    "fuse-siblings": FuseSiblings,  # with the bias and the activation that the others left behind each
    "fuse-concat": FuseConcat,  # after siblings, which take a Concat of their results out for nothing
    "qdq": Qdq,  # when only activations are left between a convolution and its quantization
    "dead-code": DeadCode,  # what the passes before it orphaned
    "kernels": Kernels,  # which nodes run together
    "tiles": Tiles,  # how each kernel is cut
    "placement": PlaceTensors,  # what stays on chip: needs the tiles' footprints
    "prefetch": PrefetchWeights,  # what is loaded early: needs what is free beside them
    "blocks": FuseBlocks,  # kernels that run as one: held against the best schedule without them
    "channels": FuseChannels,  # what rows could not join, or only with a halo or weights read again
    "engines": Engines,  # last: it shares what kernels there are
}


def build(names: Sequence[str | Pass] | None, skip: Sequence[str] = (), enable: Sequence[str] = ()) -> list[Pass]:
    """Passes by name or value, in order, without those skipped; by default all but those on request, or enabled.

    Raises:
        UsageError: an unknown name; the message has the closest match.
    """
    from difflib import get_close_matches

    for name in [*(names or ()), *skip, *enable]:
        if isinstance(name, str) and name not in PASSES:
            close = get_close_matches(name, PASSES, 1)
            hint = f"; did you mean {close[0]}?" if close else f", expected one of {', '.join(PASSES)}"
            raise UsageError(f"unknown pass {name!r}{hint}")
    usual = [name for name, each in PASSES.items() if not each.on_request or name in enable]
    wanted = [PASSES[item]() if isinstance(item, str) else item for item in (usual if names is None else names)]
    return [pass_ for pass_ in wanted if pass_.name not in skip]


def optimize_graph(original: gs.Graph, target: Target, options: Options) -> tuple[gs.Graph, Report]:
    """Run the pipeline on a copy of `original`; the copy and the report come back, `original` is not changed.

    Raises:
        VerificationError: the optimized model does not compute what the original does.
        UnsupportedError: a request that this model or target cannot meet.
        UsageError: an unknown pass, or an option that does not fit the model.
    """
    return run_passes(original, target, build(options.passes, options.skip, options.enable), options)


def optimize(
    model: Any, target: str | Path | Target = "host", *, output: str | Path | None = None, **options: Any
) -> Result:
    """Optimize an ONNX model for one machine.

    Args:
        model: a path, `zoo:NAME`, bytes, ModelProto or gs.Graph; never changed.
        target: name of a machine, path of a target file, or a Target.
        output: where to save; a path in gives a path out, beside the input as NAME.optimized.onnx where None.
        options: the fields of `Options`.

    Returns:
        The optimized model in the form that came in (`zoo:NAME` gives a ModelProto), and the report.

    Raises:
        RoofwrightError: one line that names the thing and what was expected; `exit_code` is the command line's.
    """
    from roofwright.graph import save, to_proto

    machine = target if isinstance(target, Target) else load_target(target)
    graph, report = optimize_graph(read(model), machine, Options(**options))
    if isinstance(model, gs.Graph) and output is None:
        return Result(graph, report)
    source = model_sidecar(graph).path
    beside = None if source is None else source.with_suffix(".optimized.onnx")
    place = beside if output is None else Path(output)
    if place is not None:
        save(graph, place)
        return Result(place, report)
    proto = to_proto(graph, embed=True)
    return Result(proto.SerializeToString() if isinstance(model, bytes) else proto, report)
