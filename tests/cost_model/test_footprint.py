from typing import Any

from roofwright.cost_model import GraphModel, live_bytes, memory_bytes
from roofwright.graph import read
from roofwright.targets import load_target
from tests.builders import model


def of(text: str, **weights: Any) -> tuple[float, float]:
    graph = read(model(text, **weights))
    counted = GraphModel.of(graph)
    return live_bytes(counted), memory_bytes(graph, counted)


def test_a_chain_holds_two_tensors_at_a_time() -> None:
    live, _ = of("agraph (float[1,100] x) => (float[1,100] y) { a = Relu(x) b = Exp(a) y = Neg(b) }")
    assert live == 2 * 400


def test_a_skip_is_held_until_it_is_added() -> None:
    live, _ = of("agraph (float[1,100] x) => (float[1,100] y) { a = Relu(x) b = Exp(a) c = Neg(b) y = Add(a, c) }")
    assert live == 3 * 400


def test_a_view_takes_no_room_of_its_own_and_keeps_what_it_shows() -> None:
    live, _ = of("""agraph (float[1,100] x) => (float[1,100] y)
        { a = Relu(x) b = Flatten(a) c = Exp(x) d = Add(b, c) e = Neg(d) y = Flatten(e) }""")
    assert live == 3 * 400


def test_outputs_stay_to_the_end() -> None:
    live, _ = of("agraph (float[1,100] x) => (float[1,100] a, float[1,100] c) { a = Relu(x) b = Exp(a) c = Neg(b) }")
    assert live == 3 * 400


def test_weights_count_whole_and_once() -> None:
    live, total = of(
        "agraph (int64[1,2] i) => (float[1,2,10] y) { a = Gather(t, i) b = Gather(t, i) y = Add(a, b) }", t=(50, 10)
    )
    assert total - live == 50 * 10 * 4
    assert live == 3 * 80


def test_a_target_stores_its_own_dtype() -> None:
    graph = read(model("agraph (float[1,100] x) => (float[1,10] y) { y = MatMul(x, w) }", w=(100, 10)))
    counted, target = GraphModel.of(graph), load_target("tpuv1")
    stored = {"int8": 1, "uint8": 1, "float16": 2, "bfloat16": 2}[target.assume["float32"].storage]
    assert memory_bytes(graph, counted, target) == stored * (100 + 10 + 1000)
    assert memory_bytes(graph, counted) == 4 * (100 + 10 + 1000)
