"""A schedule written into a model as metadata, and read back: the output stays standard ONNX that every runtime loads.

The model carries the schedule's JSON under `roofwright.schedule`; every node that a kernel runs carries the kernel's
index under `roofwright.kernel`. The kernels as model-local functions are in `functions`.
"""

import onnx_graphsurgeon as gs

from roofwright.cost_model import Schedule, from_json, to_json
from roofwright.graph import InvalidModelError, graphs_of, key, model_metadata, node_metadata

SCHEDULE_KEY = "roofwright.schedule"
KERNEL_KEY = "roofwright.kernel"
FUNCTION_DOMAIN = "roofwright"  # of the functions that `--emit functions` writes


def write_schedule(graph: gs.Graph, schedule: Schedule) -> None:
    """Write `schedule` into the metadata of `graph`, replacing any that is there."""
    strip_schedule(graph)
    model_metadata(graph)[SCHEDULE_KEY] = to_json(schedule)
    place = {node.output: kernel.index for kernel in schedule.kernels for node in kernel.nodes}
    for node in (node for inner in graphs_of(graph) for node in inner.nodes):
        index = place.get(key(node))
        if index is not None:
            node_metadata(node)[KERNEL_KEY] = str(index)


def strip_schedule(graph: gs.Graph) -> None:
    """Take every trace of a schedule out: what a model says of itself is never trusted, always computed again."""
    model_metadata(graph).pop(SCHEDULE_KEY, None)
    for inner in graphs_of(graph):
        for node in inner.nodes:
            node_metadata(node).pop(KERNEL_KEY, None)


def read_schedule(graph: gs.Graph) -> Schedule | None:
    """The schedule a model carries, None where it has none.

    Raises:
        InvalidModelError: the metadata is there but is no valid schedule.
    """
    text = model_metadata(graph).get(SCHEDULE_KEY)
    if text is None:
        return None
    try:
        return from_json(text)
    except ValueError as error:
        raise InvalidModelError(f"metadata {SCHEDULE_KEY} is no valid schedule: {error}") from error
