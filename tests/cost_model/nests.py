"""Random loop nests for property tests."""

from hypothesis import strategies as st

from roofwright.cost_model.work import LoopNest


@st.composite
def loop_nests(draw: st.DrawFn) -> LoopNest:
    """GEMMs, convolutions of every kind, recurrent layers: sizes small enough for exact float64 sums."""
    kind = draw(st.sampled_from(["gemm", "conv", "depthwise", "grouped", "recurrent"]))
    size = st.integers(1, 600)
    if kind in ("gemm", "recurrent"):
        m = draw(size)
        steps = draw(st.integers(1, 20)) if kind == "recurrent" else 1
        repeat = draw(st.integers(1, 12))
        return LoopNest(repeat, 1, m, 1, draw(size), draw(size), in_h=m, in_w=1, steps=steps)
    groups = {"conv": 1, "depthwise": draw(size), "grouped": draw(st.integers(2, 40))}[kind]
    channels = 1 if kind == "depthwise" else draw(st.integers(1, 300))
    filters = draw(st.integers(1, 3)) if kind == "depthwise" else draw(st.integers(1, 300))
    window, stride, out = draw(st.integers(1, 7)), draw(st.integers(1, 3)), draw(st.integers(1, 60))
    size_in = (out - 1) * stride + window
    batch, dilation = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    spatial = (window, window, stride, stride, dilation, dilation, size_in, size_in)
    return LoopNest(groups, batch, out, out, filters, channels, *spatial)
