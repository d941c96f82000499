"""How a model is written does not matter: the same model comes out, and no rewrite is missed."""

import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofwright.graph import canonical_text, read, structural_hash, to_proto
from roofwright.passes import Options, optimize_graph
from roofwright.targets import load_target
from tests.passes.models import NAMES, model_for
from tests.properties.holds import GRAPH_PASSES
from tests.properties.networks import SMALL
from tests.properties.patterns import models
from tests.properties.rewritten import WAYS, permuted

TARGET = load_target("host")
CHANGES_OPERANDS = "swapped operands"


def optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """What the passes make of a model, without a schedule."""
    return to_proto(optimize_graph(read(model), TARGET, Options(check=False, passes=GRAPH_PASSES))[0])


def operators(model: onnx.ModelProto) -> Counter[str]:
    """How often each operator is in the main graph."""
    return Counter(node.op_type for node in model.graph.node)


def comes_to_the_same(model: onnx.ModelProto, way: str) -> None:
    """Both spellings of a model are optimized to the same one; with operands swapped, to the same operators."""
    expected, found = optimized(model), optimized(WAYS[way](model))
    assert operators(found) == operators(expected)
    if way != CHANGES_OPERANDS:
        assert structural_hash(found) == structural_hash(expected), canonical_text(found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_every_pass_fires_however_its_model_is_written(name: str, way: str) -> None:
    comes_to_the_same(model_for(name), way)


@pytest.fixture
def collected() -> Iterator[None]:
    """Graphs are full of cycles: without this the weights of several networks would wait for their end."""
    yield
    gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.slow) for way in WAYS])
@pytest.mark.parametrize("name", SMALL)
def test_networks_come_to_the_same(name: str, way: str) -> None:
    comes_to_the_same(SMALL[name](), way)


@pytest.mark.filterwarnings("ignore")  # of numpy, at the ends of its ranges
@pytest.mark.parametrize("examples", [15, pytest.param(600, marks=pytest.mark.slow)])
def test_random_models_come_to_the_same_operators(examples: int) -> None:
    @settings(max_examples=examples)
    @given(model=models(), seed=st.integers(0, 9), way=st.sampled_from(list(WAYS)))
    def check(model: onnx.ModelProto, seed: int, way: str) -> None:
        other = permuted(model, seed)
        assert canonical_text(other) == canonical_text(model)
        assert structural_hash(other) == structural_hash(model)
        assert operators(optimized(WAYS[way](other))) == operators(optimized(model))

    check()


SCRIPT = """
import hashlib
from tests.passes.models import NAMES, model_for
from tests.properties.test_order import optimized
for name in NAMES:
    print(name, hashlib.sha256(optimized(model_for(name)).SerializeToString()).hexdigest())
"""


def test_no_pass_depends_on_the_process() -> None:
    digests = set()
    for seed in ("0", "4242"):
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        digests.add(ran.stdout)
    assert len(digests) == 1
    assert len(digests.pop().splitlines()) == len(NAMES)
