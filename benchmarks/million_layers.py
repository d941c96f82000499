"""Price a million layer shapes: shapes per second, vectorised against a loop over single shapes.

    python benchmarks/million_layers.py [--shapes 1000000] [--sample 300] [TARGET ...]

The loop is timed on a sample. Printed per target: seconds for all shapes, shapes per second both ways, and their ratio.
"""

import argparse
import time

import numpy as np

from roofwright.cost_model.library import kernel_time
from roofwright.cost_model.units import Nests
from roofwright.targets import Target, load_target

_TARGETS = ("tpuv2", "v100", "host")
_SEED = 7


def shapes(count: int) -> Nests:
    """Random GEMMs, dense and depthwise convolutions, in equal parts and mixed order."""
    rng = np.random.default_rng(_SEED)

    def drawn(low: int, high: int) -> np.ndarray:
        return np.exp(rng.uniform(np.log(low), np.log(high + 1), count)).astype(np.int64)

    kind = rng.integers(0, 3, count)
    is_gemm, thin, one = kind == 0, kind == 2, np.ones(count, np.int64)
    kernel = np.where(is_gemm, 1, rng.choice([1, 3, 5, 7], count))
    stride = np.where(is_gemm, 1, rng.integers(1, 3, count))
    out, channels, filters = drawn(1, 112), drawn(1, 2048), drawn(1, 2048)
    rows = drawn(1, 8192)
    out_h, out_w = np.where(is_gemm, rows, out), np.where(is_gemm, 1, out)
    return Nests(
        repeat=np.where(thin, channels, 1),
        batch=np.where(is_gemm, 1, drawn(1, 32)),
        out_h=out_h,
        out_w=out_w,
        out_channels=np.where(thin, 1, filters),
        in_channels=np.where(thin, 1, channels),
        kernel_h=kernel,
        kernel_w=kernel,
        stride_h=stride,
        stride_w=stride,
        dilation_h=one,
        dilation_w=one,
        in_h=out_h * stride,
        in_w=out_w * stride,
        steps=one,
    )


def dtype_of(target: Target) -> str:
    """A dtype that the first engine multiplies: its widest float, else the first it names."""
    known = target.engines[0].macs_per_clock
    return next((d for d in ("float32", "bfloat16", "float16") if d in known), next(iter(known)))


def measure(name: str, nests: Nests, sample: int) -> str:
    """One line for one target."""
    target = load_target(name)
    dtype = dtype_of(target)
    start = time.perf_counter()
    kernel_time(nests, target, dtype)
    together_s = time.perf_counter() - start
    singles = [nests.take(slice(i, i + 1)) for i in range(sample)]
    start = time.perf_counter()
    for single in singles:
        kernel_time(single, target, dtype)
    alone_s = time.perf_counter() - start
    fast, slow = len(nests) / together_s, sample / alone_s
    return f"{name:10s} {dtype:9s} {together_s:7.2f} s {fast:12,.0f} /s   loop {slow:8,.0f} /s   {fast / slow:6,.0f} x"


def main() -> None:
    """Parse the command line and print one line per target."""
    parser = argparse.ArgumentParser(description="price many layer shapes at once")
    parser.add_argument("targets", nargs="*", default=list(_TARGETS))
    parser.add_argument("--shapes", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=300)
    options = parser.parse_args()
    nests = shapes(options.shapes)
    for name in options.targets:
        print(measure(name, nests, min(options.sample, len(nests))), flush=True)


if __name__ == "__main__":
    main()
