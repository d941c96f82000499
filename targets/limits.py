"""Which numbers a field accepts, told by the unit in its name."""

import math

_LARGEST = 2**62
_SHARES = ("efficiency", "issue_efficiency")
_MAY_BE_INFINITE = ("link.bytes_per_s",)  # a machine whose host and device share one memory


def violation(number: float, key: str) -> str | None:
    """What is wrong with a number; None where nothing is.

    All numbers are positive and finite. Durations (`..._s`, but not rates `..._per_s`) may be zero; shares of a peak
    end at 1.
    """
    parts = key.split(".")
    if isinstance(number, int) and abs(number) > _LARGEST:
        return f"must not exceed {_LARGEST}"
    if math.isnan(number):
        return "must be a number"
    if math.isinf(number) and not key.endswith(_MAY_BE_INFINITE):
        return "must be finite"
    if any(part in _SHARES for part in parts) and number > 1:
        return "must be at most 1"
    if any(part.endswith("_s") and not part.endswith("_per_s") for part in parts):
        return "must not be negative" if number < 0 else None
    return None if number > 0 else "must be greater than 0"
