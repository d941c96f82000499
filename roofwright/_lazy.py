"""Lazy package façades (PEP 562): a name is imported from its module when it is first asked for."""

from collections.abc import Callable, Mapping
from importlib import import_module


def attach(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a façade.

    Args:
        package: the façade's own name, e.g. "roofwright.graph".
        homes: public name -> module that defines it, relative to the package.

    Returns:
        A function that imports the module of a public name and returns the attribute.
    """

    def __getattr__(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return __getattr__
