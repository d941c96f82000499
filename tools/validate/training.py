"""Training steps of fully connected nets on a board of systolic cores, for holding the matrix model against traces.

The workload: input -> `layers` hidden layers of `nodes` -> output, data parallel over the cores of a board. Each layer
takes three products (forward, gradient of its input, gradient of its weights), RMSProp updates the weights, and the
gradients are summed over the cores. A step takes

    max(device + step overhead, host's input pipeline + its overhead per step)

where the device's times add up: matrix cycles, passes over the parameters, all-reduce, a constant per layer. The
machine comes from its target; everything else from the constants of the stack `tf-tpu-training`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roofwright.cost_model.matrix_unit import unit_time
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Target


@dataclass(frozen=True)
class Nets:
    """Fully connected nets side by side; arrays of shape (n,), batch over the whole board."""

    layers: Ints
    nodes: Ints
    inputs: Ints
    outputs: Ints
    batch: Ints

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]]) -> "Nets":
        """From table rows with columns layers, nodes, input, output, global_batch."""
        names = ("layers", "nodes", "input", "output", "global_batch")
        return cls(*(np.array([r[name] for r in records], np.int64) for name in names))

    @property
    def parameters(self) -> Ints:
        """Weights and biases."""
        hidden = (self.layers - 1) * self.nodes**2
        return np.asarray((self.inputs + self.outputs) * self.nodes + hidden + self.layers * self.nodes + self.outputs)

    @property
    def activations(self) -> Ints:
        """Values per sample that the backward pass needs."""
        return np.asarray(self.inputs + self.layers * self.nodes + self.outputs)


@dataclass(frozen=True)
class Steps:
    """What a training step costs on one core; shape (n,).

    Attributes:
        matrix_s, parameters_s, all_reduce_s, layers_s: parts of the device's time, which add up to `device_s`.
        host_s: the input pipeline's time per step.
        step_s: the step.
        flops_share: of the array's peak, over the step. memory_share: of the device memory's peak.
        wait_share: share of the step that the device waits for input.
        resident_bytes: what must fit the device memory.
    """

    matrix_s: Floats
    parameters_s: Floats
    all_reduce_s: Floats
    layers_s: Floats
    device_s: Floats
    host_s: Floats
    step_s: Floats
    flops_share: Floats
    memory_share: Floats
    wait_share: Floats
    resident_bytes: Floats

    def binding(self) -> list[str]:
        """The resource that binds each step: "input" from 10 % of waiting, else the busier of "memory" and "matrix"."""
        busier = np.where(self.flops_share > self.memory_share, "matrix", "memory")
        return [str(name) for name in np.where(self.wait_share >= 0.10, "input", busier)]


def price(nets: Nets, target: Target, dtype: str = "bfloat16") -> Steps:
    """Price training steps on a board of `target`s."""
    constants, memory = target.stack.constants, target.device_memory
    matrix_s = _matrix_s(nets, target, dtype)
    parameters = nets.parameters.astype(np.float64)
    moved = parameters * constants["memory_bytes_per_parameter"]
    parameters_s = moved / (memory.bytes_per_s * memory.efficiency)
    all_reduce_s = parameters * constants["all_reduce_bytes_per_parameter"] / constants["link_bytes_per_s"]
    layers_s = np.asarray(nets.layers * constants["layer_s"], np.float64)
    device_s = matrix_s + parameters_s + all_reduce_s + layers_s + constants["step_s"]
    host_s = _host_s(nets, constants)
    step_s = np.maximum(device_s, host_s)
    samples = nets.batch / constants["cores"]
    macs_s = 3 * parameters * samples / target.engines[0].peak_macs_per_s(dtype)
    held = constants["resident_bytes_per_parameter"] * parameters
    held += constants["resident_bytes_per_activation"] * samples * nets.activations
    return Steps(
        matrix_s,
        parameters_s,
        all_reduce_s,
        layers_s,
        device_s,
        host_s,
        step_s,
        macs_s / step_s,
        moved / memory.bytes_per_s / step_s,
        1 - device_s / step_s,
        held,
    )


def _host_s(nets: Nets, constants: Mapping[str, float]) -> Floats:
    values = nets.batch * (nets.inputs + nets.outputs)
    made = values * constants["input_bytes_per_value"] / constants["input_bytes_per_s"]
    return np.asarray(made + nets.batch * constants["input_sample_s"] + constants["input_step_s"])


def _matrix_s(nets: Nets, target: Target, dtype: str) -> Floats:
    """Seconds of all products of a step on one core; the first layer has no gradient of its input."""
    samples = ceil_div(nets.batch, int(target.stack.constants["cores"]))

    def product(m: Ints, n: Ints, k: Ints) -> Floats:
        return unit_time(Nests.gemm(m, n, k), target.engines[0], target, dtype).busy_s

    def weighted(inputs: Ints, outputs: Ints) -> Floats:
        return product(samples, outputs, inputs) + product(inputs, outputs, samples)

    def hidden(inputs: Ints, outputs: Ints) -> Floats:
        return weighted(inputs, outputs) + product(samples, inputs, outputs)

    middle = (nets.layers - 1) * hidden(nets.nodes, nets.nodes)
    return weighted(nets.inputs, nets.nodes) + middle + hidden(nets.nodes, nets.outputs)
