"""Requests back to back: the input of the next one arrives while this one runs, and the output of the last one leaves.

A request is a tile of a three-stage flow shop (link in, device, link out) with b buffers for inputs and as many for
outputs in the device memory, so that its closed forms hold: n requests take L + (n - 1) P + X + Y with the period

    P = max(L, X, Y)              two buffers
    P = max(L + X, X + Y)         one: the next input waits for the device, the device for the last output

The two directions of the link do not disturb each other. A machine that shares the host's memory moves nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.traffic import operand_bytes
from roofwright.targets import Target


@dataclass(frozen=True)
class Steady:
    """Back-to-back requests.

    Attributes:
        input_s: prologue: the first input arrives, before the device has anything to do.
        device_s: of one request, in the steady state.
        output_s: epilogue: the last output leaves when the device is done.
        buffers: inputs (and outputs) that the device memory holds at once.
    """

    input_s: float
    device_s: float
    output_s: float
    buffers: int

    @property
    def period_s(self) -> float:
        """From one request to the next."""
        if self.buffers > 1:
            return max(self.input_s, self.device_s, self.output_s)
        return self.device_s + max(self.input_s, self.output_s)

    def total_s(self, requests: int) -> float:
        """From the start of the first input to the end of the last output."""
        return self.input_s + max(requests - 1, 0) * self.period_s + self.device_s + self.output_s


def steady(
    kernels: Sequence[KernelWork],
    outputs: Collection[str],
    device_s: float,
    link_bytes: float,
    link_s: tuple[float, float],
    target: Target,
) -> Steady:
    """Back-to-back requests of a graph; two buffers where the device memory holds another request's ends, too.

    Args:
        kernels: in order.
        outputs: tensors whose bytes the caller reads.
        device_s: of one request.
        link_bytes: of its inputs and outputs.
        link_s: seconds of its inputs and of its outputs.
        target: the machine.
    """
    fits = _most_bytes(kernels, outputs, target) + link_bytes <= target.device_memory.capacity_bytes
    return Steady(link_s[0], device_s, link_s[1], 2 if fits else 1)


def _most_bytes(kernels: Sequence[KernelWork], outputs: Collection[str], target: Target) -> float:
    """Most bytes of tensors alive at a time: weights and inputs from the first kernel on, results until last read."""
    size: dict[str, float] = {}
    first, last = dict[str, int](), dict.fromkeys(outputs, len(kernels))
    for at, kernel in enumerate(kernels):
        for operand in (*kernel.reads, *kernel.writes):
            size[operand.name] = max(size.get(operand.name, 0.0), operand_bytes(operand, target))
            last[operand.name] = max(last.get(operand.name, 0), len(kernels) if operand.constant else at)
        first.update((operand.name, at) for operand in kernel.writes)
    change = np.zeros(len(kernels) + 2)
    np.add.at(change, [first.get(name, 0) for name in size], list(size.values()))
    np.subtract.at(change, [last[name] + 1 for name in size], list(size.values()))
    return float(np.cumsum(change).max())
