"""How long `optimize` takes as a process, against other optimizers on the same file, and what its check costs.

    python benchmarks/process_time.py MODEL.onnx [--python PEERS_PYTHON] [--rounds 9]

Every command is a fresh process; rounds are interleaved, so that a slow moment of the machine hits all alike. The
figures are ratios of medians measured in one run: `optimize --no-check` (schedule and report included) over each peer,
and `optimize` with its check over the one without. A peer that the interpreter lacks is left out.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

PEERS = {
    "onnxsim": "import onnx, onnxsim; m, _ = onnxsim.simplify(onnx.load(r'{0}')); onnx.save(m, r'{1}')",
    "onnxslim": "import onnx, onnxslim; onnx.save(onnxslim.slim(onnx.load(r'{0}')), r'{1}')",
    "onnxscript": "import onnx, onnxscript.optimizer as o; onnx.save(o.optimize(onnx.load(r'{0}')), r'{1}')",
    "load and save": "import onnx; onnx.save(onnx.load(r'{0}'), r'{1}')",
}


def commands(model: Path, folder: Path, python: str, target: str) -> dict[str, list[str]]:
    """Name -> command line."""
    optimize = [str(Path(sys.executable).with_name("optimize")), str(model), "--target", target, "--force"]
    files = ["-o", str(folder / "ours.onnx"), "--report", str(folder / "ours.json")]
    found = {"optimize --no-check": [*optimize, *files, "--no-check"], "optimize": [*optimize, *files]}
    for name, code in PEERS.items():
        module = code.split(";")[0].split(",")[-1].split(" as ")[0].removeprefix("import").strip()
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0:
            found[name] = [python, "-c", code.format(model, folder / "peer.onnx")]
    return found


def seconds(command: list[str], folder: str) -> float:
    """Wall time of one fresh process; modules are compiled once for all rounds, into `folder`, as where installed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
    start = perf_counter()
    subprocess.run(command, capture_output=True, check=True, env=environment)
    return perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--target", default="tpuv2")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        todo = commands(args.model, Path(folder), args.python, args.target)
        times: dict[str, list[float]] = {name: [] for name in todo}
        for _ in range(args.rounds + 1):  # the first round warms the file cache
            for name, command in todo.items():
                times[name].append(seconds(command, folder))
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    ours = medians["optimize --no-check"]
    print(f"{args.model.name}, target {args.target}, median of {args.rounds} interleaved rounds")
    for name, median in medians.items():
        spread = f"{min(times[name][1:]):.2f} .. {max(times[name][1:]):.2f}"
        print(f"{name:22} {median:6.2f} s  ({spread})   optimize --no-check / it = {ours / median:.2f}")
    print(f"check: {medians['optimize'] - ours:.2f} s, {medians['optimize'] / ours:.2f} times the process without it")


if __name__ == "__main__":
    main()
