"""Arrays from files, for the check."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roofwright.graph import InvalidModelError, UsageError, printable


def load_arrays(files: Mapping[str, str], inputs: Sequence[str]) -> dict[str, Any]:
    """Input name -> array.

    Args:
        files: input name -> .npy file; '' stands for the only input.
        inputs: the model's.

    Raises:
        UsageError: a name is missing.
        InvalidModelError: a file cannot be read.
    """
    if "" in files and len(inputs) != 1:
        names = ", ".join(printable(name) for name in inputs)
        raise UsageError(f"an array without an input's name: the model has {len(inputs)} inputs ({names})")
    return {name or inputs[0]: _load(place) for name, place in files.items()}


def _load(place: str) -> Any:
    import numpy as np

    name = printable(place)
    if not Path(place).is_file():
        raise InvalidModelError(f"{name}: {'is not a regular file' if os.path.lexists(place) else 'no such file'}")
    try:
        array = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidModelError(f"{name}: cannot be read as an array: {error}") from None
    if not isinstance(array, np.ndarray):
        raise InvalidModelError(f"{name}: is an archive of arrays; expected a single one")
    return array
