"""Optimize a model from Python and ask the report questions; takes the names of a model and a target."""

import sys

import roofwright


def main(model: str = "zoo:squeezenet", target: str = "v100") -> None:
    """Optimize, then print what each cause costs before and after, and the three slowest layers."""
    _, report = roofwright.optimize(model, target=target)
    before, after = report.before, report.after
    print(f"{model} on {report.target_title}, modelled:")
    print(f"  latency       {1e6 * before.latency_s:8.1f} -> {1e6 * after.latency_s:8.1f} us")
    for cause, lost_s in after.causes_s.items():
        print(f"  {cause:13} {1e6 * before.causes_s[cause]:8.1f} -> {1e6 * lost_s:8.1f} us")
    for layer in sorted(after.layers, key=lambda layer: -layer.seconds)[:3]:
        print(f"  {'+'.join(layer.ops)}: {1e6 * layer.seconds:.1f} us on {layer.engine}, mostly {layer.worst_cause}")
    print(f"check: {report.check.status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
