"""Numbers as people read them: bytes, seconds, counts, changes."""

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def seconds(value: float) -> str:
    """`1.91 ms`."""
    for scale, unit in _TIMES:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {unit}"
    return "0 s" if value == 0 else f"{value:.2g} s"


def count(value: float) -> str:
    """`300.8 M`."""
    for scale, unit in _COUNTS:
        if abs(value) >= scale:
            return f"{value / scale:.1f} {unit}"
    return f"{value:.0f}"


def size(value: float) -> str:
    """`13.4 MiB`."""
    for scale, unit in _BYTES:
        if abs(value) >= scale:
            return f"{value / scale:.1f} {unit}"
    return f"{value:.0f} B"


def percent(value: float) -> str:
    """`6.1 %`."""
    return f"{100 * value:.1f} %" if abs(value) >= 1e-3 or value == 0 else f"{100 * value:.2g} %"


def change(before: float, after: float) -> str:
    """`-62.8 %`; empty where there is nothing to compare."""
    if not before:
        return ""
    return f"{100 * (after - before) / before:+.1f} %"
