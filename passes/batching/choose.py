"""The batch that is just large enough: `--batch auto`."""

from collections.abc import Callable
from typing import NamedTuple

from roofwright.graph import UnsupportedError

LARGEST = 1024
SLACK = 1.05  # of the best time per sample


class Price(NamedTuple):
    """What one batch costs, modelled."""

    device_s: float
    latency_s: float
    memory_bytes: float


class _Prices:
    """Prices asked for once each, and whether they keep the limits."""

    def __init__(
        self, price: Callable[[int], Price], max_latency_s: float | None, max_memory_bytes: float | None
    ) -> None:
        self.price, self.max_latency_s, self.max_memory_bytes = price, max_latency_s, max_memory_bytes
        self.seen: dict[int, Price] = {}

    def at(self, batch: int) -> Price:
        if batch not in self.seen:
            self.seen[batch] = Price(*self.price(batch))
        return self.seen[batch]

    def broken(self, batch: int) -> str:
        """Which limit a batch breaks; empty where it keeps both."""
        price = self.at(batch)
        if self.max_latency_s is not None and price.latency_s > self.max_latency_s:
            return f"the latency is {price.latency_s:.3g} s, more than --max-latency {self.max_latency_s:g}"
        if self.max_memory_bytes is not None and price.memory_bytes > self.max_memory_bytes:
            return f"it needs {price.memory_bytes:.0f} bytes, more than --max-memory {self.max_memory_bytes:.0f}"
        return ""

    def per_sample_s(self, batch: int) -> float:
        return self.at(batch).device_s / batch


def choose_batch(
    price: Callable[[int], tuple[float, float, float]],
    *,
    max_latency_s: float | None = None,
    max_memory_bytes: float | None = None,
) -> int:
    """The smallest batch whose device time per sample is within 5 % of the best that the limits allow.

    Powers of two are priced first. The largest batch within the limits, and the smallest that is good enough, are then
    found by bisection between two neighbouring powers: exact where latency and memory grow with the batch and the time
    per sample falls with it; where that has small steps (waves, rows of a unit), the answer is good enough but a
    smaller one between two powers may be missed. About 20 prices, at most 29.

    Args:
        price: batch -> (device seconds, latency seconds, bytes when it runs).
        max_latency_s: longest latency of a request; None: no limit.
        max_memory_bytes: most memory; None: no limit.

    Raises:
        UnsupportedError: not even one sample keeps the limits; the message names the limit.
    """
    prices = _Prices(lambda batch: Price(*price(batch)), max_latency_s, max_memory_bytes)
    if prices.broken(1):
        raise UnsupportedError(f"no batch keeps the limits: at a batch of 1, {prices.broken(1)}")
    allowed = _powers(prices)
    best_s = min(prices.per_sample_s(batch) for batch in prices.seen if not prices.broken(batch))
    good = next(batch for batch in sorted(allowed) if prices.per_sample_s(batch) <= SLACK * best_s)
    below = max((batch for batch in allowed if batch < good), default=0)
    return _smallest(below, good, lambda batch: prices.per_sample_s(batch) <= SLACK * best_s) if below else good


def _powers(prices: _Prices) -> list[int]:
    """Powers of two within the limits, and the largest batch within them."""
    allowed, batch = [1], 2
    while batch <= LARGEST:
        if prices.broken(batch):
            over = _smallest(batch // 2, batch, lambda size: bool(prices.broken(size)))
            return [*allowed, over - 1] if over - 1 > allowed[-1] else allowed
        allowed.append(batch)
        batch *= 2
    return allowed


def _smallest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest size above `low` (where it does not hold) up to `high` (where it does), by bisection."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
