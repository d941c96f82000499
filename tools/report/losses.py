"""Which layers lose most, cause by cause, and what would win it back."""

from collections.abc import Sequence

from roofwright.graph import printable
from roofwright.passes import LEVERS, Layer, Report
from roofwright.tools.report.page import Page, shortened
from roofwright.tools.report.units import percent, seconds

_WORTH_SAYING = 0.05  # of the latency
_LAYERS_SHOWN = 2
_NAME_WIDTH = 40


def add_losses(page: Page, report: Report) -> None:
    """One paragraph for every cause that still takes at least a twentieth of the latency, the largest first."""
    after = report.after
    _add_fallbacks(page, report)
    large = {name: lost for name, lost in after.causes_s.items() if lost >= _WORTH_SAYING * after.latency_s > 0}
    if not large:
        return
    page.heading("what is still lost, and the lever")
    for name, lost in sorted(large.items(), key=lambda item: -item[1]):
        page.paragraph(f"  {name} {seconds(lost)} ({percent(lost / after.latency_s)}): {LEVERS[name]}", "    ")
        worst = _worst(after.layers, name)
        if worst:
            page.paragraph(f"    most in {worst}", "      ")


def _add_fallbacks(page: Page, report: Report) -> None:
    """What runs beside the special unit, and why; only what takes at least a twentieth of the latency."""
    after = report.after
    large = [f for f in after.fallbacks if f.seconds >= _WORTH_SAYING * after.latency_s]
    if large:
        page.heading("what runs beside the special unit")
    for found in large:
        share = percent(found.seconds / after.latency_s)
        where = f"on {found.engine}" if found.engine else "nowhere"
        page.paragraph(
            f"  {found.kernels} x {found.op} {where}, {seconds(found.seconds)} ({share}): {found.reason}", "    "
        )


def _worst(layers: Sequence[Layer], cause: str) -> str:
    """The layers that lose most to the cause; those of one operator that lose the same are told together."""
    groups: dict[tuple[str, str], list[Layer]] = {}
    for layer in layers:
        lost = layer.causes_s[cause]
        if lost > 0:
            groups.setdefault((layer.ops[0], seconds(lost)), []).append(layer)
    largest = sorted(groups.items(), key=lambda item: -sum(layer.causes_s[cause] for layer in item[1]))[:_LAYERS_SHOWN]
    return "; ".join(
        f"{op} {shortened(printable(members[0].name), _NAME_WIDTH)} {lost}"
        + (f" (and {len(members) - 1} like it)" if len(members) > 1 else "")
        for (op, lost), members in largest
    )
