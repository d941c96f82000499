"""Device time of the scheduled zoo over its proven lower bound, network by network.

    python benchmarks/gap.py [NETWORK ...] [--target tpuv1 tpuv2 kirin970] [--batch 1 8]

Last come the geometric means, per target and batch and of all pairs. Figures are modelled: they do not depend on the
machine that runs this.
"""

import argparse
from statistics import geometric_mean

from roofwright.graph import read
from roofwright.graph.zoo import names
from roofwright.passes import Options, optimize_graph
from roofwright.targets import load_target

TARGETS = ("tpuv1", "tpuv2", "kirin970")


def main() -> None:
    """Optimize, schedule and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=names())
    parser.add_argument("--target", nargs="+", default=TARGETS)
    parser.add_argument("--batch", nargs="+", type=int, default=(1, 8))
    args = parser.parse_args()
    ratios: dict[tuple[str, int], list[float]] = {}
    print(f"{'network':20s} {'target':10s} {'batch':>5s} {'device ms':>10s} {'bound ms':>10s} {'ratio':>6s}")
    for network in args.networks:
        graph = read(f"zoo:{network}")
        for target in args.target:
            for batch in args.batch:
                options = Options(check=False, batch=batch if batch > 1 else None)
                after = optimize_graph(graph, load_target(target), options)[1].after
                ratio = after.device_s / after.bound_s
                ratios.setdefault((target, batch), []).append(ratio)
                shown = f"{after.device_s * 1e3:10.3f} {after.bound_s * 1e3:10.3f} {ratio:6.2f}"
                print(f"{network:20s} {target:10s} {batch:5d} {shown}", flush=True)
    for (target, batch), found in ratios.items():
        print(f"{'geometric mean':20s} {target:10s} {batch:5d} {'':21s} {geometric_mean(found):6.2f}")
    print(f"{'geometric mean':36s} {'':21s} {geometric_mean([r for f in ratios.values() for r in f]):6.2f}")


if __name__ == "__main__":
    main()
