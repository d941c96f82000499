from typing import Any

import numpy as np

from roofwright.passes.cleanup.symbols import Symbol, Symbols, computed
from tests.passes.harness import int64


def objects(*items: Any) -> Any:
    found = np.empty(len(items), object)
    found[:] = items
    return found


def test_symbols_are_one_object_per_thing() -> None:
    symbols = Symbols()
    n, m = symbols.named("n"), symbols.named("m")
    assert symbols.of("Add", n, m) is symbols.of("Add", m, n)
    assert symbols.of("Sub", n, m) is not symbols.of("Sub", m, n)
    assert symbols.product([n, 2, m]) is symbols.product([m, n, 2])
    assert symbols.of("Mul", n, 1) is n
    assert symbols.of("Mul", n, 0) == 0
    assert symbols.of("Add", n, 0) is n
    assert symbols.of("Sub", n, n) == 0
    assert symbols.of("Sub", symbols.of("Add", n, m), m) is n
    assert symbols.of("Div", symbols.of("Mul", n, 4), 4) is n
    assert isinstance(symbols.of("Div", symbols.of("Sub", n, m), 4), Symbol)
    assert (symbols.of("Div", -7, 2), symbols.of("Div", 7, 2), symbols.of("Min", 3, 5)) == (-3, 3, 3)
    assert isinstance(symbols.of("Sub", 5, n), Symbol)


def test_what_does_not_follow_is_not_said() -> None:
    symbols = Symbols()
    n, m = symbols.named("n"), symbols.named("m")
    gap = symbols.of("Sub", n, m)
    for divisor in (0, -1):
        assert computed("Div", [objects(n), int64([divisor])], {}, symbols) is None
    assert computed("Div", [objects(n), objects(m)], {}, symbols) is None
    assert computed("Greater", [objects(n), objects(m)], {}, symbols) is None
    assert computed("Greater", [objects(gap), int64([-1])], {}, symbols) is None
    assert computed("Greater", [objects(n), int64([-1])], {}, symbols) == [True]
