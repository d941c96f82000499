"""What each applied rewrite gained: the modelled cost of what it consumed less that of what it produced.

A pass is priced as a whole before and after it, op by op; a rewrite takes the figures of its own nodes from there. A
node that one rewrite of the run made and a later one consumed was never priced: it is taken to cost what the later one
made of it, so that the gains along a chain add up to the difference of its two ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import Estimate
from roofwright.passes.base import Record

Cost = NDArray[np.float64]  # seconds, off-chip bytes
_NOTHING: Cost = np.zeros(2)


@dataclass
class _Link:
    """One applied rewrite in the order of a run.

    Attributes:
        taken: keys of consumed nodes that were there before the run.
        makers: the earlier rewrites whose products it consumed.
        left: keys of its products that are there after the run.
        made: what its products cost, as far as that is known.
    """

    record: Record
    taken: list[str] = field(default_factory=list)
    makers: list["_Link"] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    made: list[Cost] = field(default_factory=list)


def gains(records: Sequence[Record], before: Estimate, after: Estimate) -> dict[int, tuple[float, float]]:
    """What the applied rewrites of one run of a pass gained.

    Args:
        records: in the order in which they were applied.
        before: the graph as the pass found it, op by op.
        after: the graph as it left it, op by op.

    Returns:
        Record (by id) -> (seconds, off-chip bytes); without those that have no price.
    """
    chain = _chain([record for record in records if record.applied])
    old = _costs(before, {name for link in chain for name in link.taken})
    new = _costs(after, {name for link in chain for name in link.left})
    found = {id(link.record): _gain(link, old, new) for link in reversed(chain)}
    return {number: (float(gain[0]), float(gain[1])) for number, gain in found.items() if gain is not None}


def _chain(applied: Sequence[Record]) -> list[_Link]:
    chain, live = [], dict[str, _Link]()
    for record in applied:
        link = _Link(record)
        for _, name in record.taken:
            maker = live.pop(name, None)
            link.taken += [name] if maker is None else []
            link.makers += [] if maker is None else [maker]
        live.update({name: link for _, name in record.produced})
        chain.append(link)
    for name, link in live.items():
        link.left.append(name)
    return chain


def _costs(estimate: Estimate, wanted: set[str]) -> dict[str, Cost]:
    """Key -> cost of the wanted nodes that the estimate knows; views and constants cost nothing."""
    found = dict.fromkeys((work.key for work in estimate.costing.model.works if work.key in wanted), _NOTHING)
    seconds, moved = _seconds(estimate), estimate.moved.total_bytes
    for at, kernel in enumerate(estimate.kernels):
        if kernel.key in wanted:
            found[kernel.key] = np.array((seconds[at], moved[at]))
    return found


def _seconds(estimate: Estimate) -> NDArray[np.float64]:
    """What each kernel takes, with its part of the dispatch, which the estimate only knows for the whole request."""
    launches = np.array([kernel.repeat for kernel in estimate.kernels], np.float64)
    dispatch_s = estimate.evaluations.request_s - estimate.target.stack.call_s
    own_s = estimate.evaluations.timeline_s + estimate.evaluations.overhead_s
    return np.asarray(own_s + dispatch_s * launches / max(1.0, float(launches.sum())))


def _gain(link: _Link, old: dict[str, Cost], new: dict[str, Cost]) -> Cost | None:
    """The gain of one rewrite, given those after it; None where neither of its sides has a price."""
    taken = [old[name] for name in link.taken if name in old]
    link.made += [new[name] for name in link.left if name in new]
    cost = sum(link.made, _NOTHING)
    for maker in link.makers:
        maker.made.append(cost / len(link.makers))
    if not taken and not link.made:
        return None
    return sum(taken, _NOTHING) - (_NOTHING if link.makers else cost)
