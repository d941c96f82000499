"""Documents as nested dictionaries: what a leaf is, and one document on top of another."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]

NONE = "none"  # an optional key that is left out on purpose, or an inherited entry that is taken away
LEAF_KEYS = ("value", "source", "confidence")


def is_leaf(value: object) -> bool:
    """Whether a value of a document is a number (or a list or table of numbers) with its provenance."""
    return isinstance(value, Mapping) and "value" in value


def merge(base: Document, over: Document) -> Document:
    """`over` on top of `base`, table by table.

    Keys keep the order of `base` and new ones follow, unless `over` names all of them: then its order counts.
    """
    order = over if set(base) <= set(over) else {**base, **over}
    return {key: _merged(base, over, key) for key in order}


def _merged(base: Document, over: Document, key: str) -> Any:
    if key not in over:
        return base[key]
    old, new = base.get(key), over[key]
    if isinstance(old, dict) and isinstance(new, dict) and not is_leaf(old) and not is_leaf(new):
        return merge(old, new)
    return new
