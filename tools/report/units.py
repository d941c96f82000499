"""Numbers as people read them: bytes, seconds, counts, changes."""

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_NOISE = 1e-12  # of the whole: what rounding leaves where nothing is


def seconds(value: float, whole: float = 0.0) -> str:
    """`1.91 ms`, three digits; what is nothing beside `whole` (the total it is part of) is `0 s`."""
    value = float(f"{value:.3g}")
    if value == 0 or abs(value) < _NOISE * abs(whole):
        return "0 s"
    scale, unit = next(((scale, unit) for scale, unit in _TIMES if abs(value) >= scale), (1e-9, "ns"))
    return f"{value / scale:#.3g} {unit}".replace(". ", " ")


def count(value: float) -> str:
    """`300.8 M`; whole numbers below 1000 as they are."""
    value = float(f"{value:.4g}")
    for scale, unit in _COUNTS:
        if abs(value) >= scale:
            return f"{value / scale:.1f} {unit}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


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
    """`-62.8 %`, or `x 12` for what became more than ten times as much; empty where there is nothing to compare."""
    if not before:
        return ""
    if after > 10 * before > 0:
        return factor(before, after)
    text = f"{100 * (after - before) / before:+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def factor(before: float, after: float) -> str:
    """`x 3.2`; empty where there is nothing to compare."""
    ratio = after / before if before else 1.0
    text = f"x {ratio:.2g}" if ratio < 100 else f"x {ratio:.0f}"
    return "" if text == "x 1" else text


def rate(value: float) -> str:
    """`1,176`, `38.2`: events per second."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    """`1.32 x`."""
    return f"{value:.2f} x" if value < 100 else f"{value:,.0f} x"
