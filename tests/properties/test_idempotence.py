"""Running optimize on its own output changes nothing; every process writes the same bytes."""

import gc
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import roofwright
from roofwright.graph import clone, read, to_proto
from roofwright.graph.zoo import names
from tests.properties.networks import MAIN_TARGETS, SMALL, graph, saved


def twice(found: object, target: str) -> None:
    """Bytes of the second run equal those of the first; nothing was blamed in either."""
    once, first = roofwright.optimize(found, target, check=False)
    made = roofwright.optimize(once, target, check=False)
    again, second = made.model, made.report
    assert not [p.name for report in (first, second) for p in report.passes if p.rolled_back]
    assert not second.changed
    assert _digest(again) == _digest(once)
    assert second.after.latency_s == first.after.latency_s
    assert second.before.latency_s <= first.before.latency_s


def _digest(found: object) -> str:
    """Of the bytes, of which there may be half a gigabyte."""
    proto = to_proto(found)  # type: ignore[arg-type]  # a graph
    return hashlib.sha256(proto.SerializeToString()).hexdigest()


@pytest.mark.parametrize("name", SMALL)
def test_a_second_run_changes_nothing(name: str) -> None:
    twice(graph(name), "tpuv2")


@pytest.mark.parametrize("target", MAIN_TARGETS)
def test_a_second_run_changes_nothing_on_any_machine(target: str) -> None:
    for name in ("mobilenet_v2", "bert"):
        twice(graph(name), target)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_second_run_changes_nothing_on_the_full_networks(name: str) -> None:
    found = read(f"zoo:{name}")
    for target in MAIN_TARGETS:
        twice(clone(found), target)
        gc.collect()  # graphs are cycles of few objects and many bytes


SCRIPT = """
import sys, hashlib, roofwright
made, report = roofwright.optimize(sys.argv[1], "tpuv2", output=sys.argv[2], check=False)
print(hashlib.sha256(open(made, "rb").read() + report.to_json().encode()).hexdigest())
"""


def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    source = saved("mobilenet_v2", tmp_path)
    digests = set()
    for seed in ("0", "1", "4242"):
        wanted = tmp_path / f"{seed}.onnx"
        command = [sys.executable, "-c", SCRIPT, str(source), str(wanted)]
        ran = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        digests.add(ran.stdout.strip())
    assert len(digests) == 1
    assert digests != {hashlib.sha256(b"").hexdigest()}
