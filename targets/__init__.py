"""What the hardware is: one TOML per machine, every number with its source."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.targets.cores import with_cores
    from roofwright.targets.errors import TargetError
    from roofwright.targets.loader import load_stack, load_target, stack_names, target_names
    from roofwright.targets.spec import (
        Assumption,
        Engine,
        Link,
        Memory,
        Power,
        Provenance,
        Simd,
        Simt,
        Stack,
        Systolic,
        Target,
        Window,
    )

_HOMES = {
    "load_stack": "loader",
    "load_target": "loader",
    "stack_names": "loader",
    "target_names": "loader",
    "with_cores": "cores",
    "TargetError": "errors",
    "Assumption": "spec",
    "Engine": "spec",
    "Link": "spec",
    "Memory": "spec",
    "Power": "spec",
    "Provenance": "spec",
    "Simd": "spec",
    "Simt": "spec",
    "Stack": "spec",
    "Systolic": "spec",
    "Target": "spec",
    "Window": "spec",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "load_stack",
    "load_target",
    "stack_names",
    "target_names",
    "with_cores",
    "TargetError",
    "Assumption",
    "Engine",
    "Link",
    "Memory",
    "Power",
    "Provenance",
    "Simd",
    "Simt",
    "Stack",
    "Systolic",
    "Target",
    "Window",
]
__getattr__ = attach(__name__, _HOMES)
