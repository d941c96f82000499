"""Zoo names and what each of them builds. Imports no onnx until a network is built."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from roofwright.graph.errors import UsageError

if TYPE_CHECKING:
    import onnx

_NETWORKS: Mapping[str, tuple[str, str, Mapping[str, object]]] = MappingProxyType(
    {  # name -> module, function, options
        "mobilenet_v1": ("mobilenets", "mobilenet_v1", {}),
        "mobilenet_v2": ("mobilenets", "mobilenet_v2", {}),
        "mobilenet_v3_large": ("mobilenets_v3", "mobilenet_v3", {"version": "large"}),
        "mobilenet_v3_small": ("mobilenets_v3", "mobilenet_v3", {"version": "small"}),
        "shufflenet_v1": ("shufflenets", "shufflenet_v1", {}),
        "shufflenet_v2": ("shufflenets", "shufflenet_v2", {}),
        "squeezenet": ("squeezenets", "squeezenet", {}),
        "squeezenet1_1": ("squeezenets", "squeezenet", {"version": "1.1"}),
        "resnet18": ("resnets", "resnet", {"depth": 18}),
        "resnet34": ("resnets", "resnet", {"depth": 34}),
        "resnet50": ("resnets", "resnet", {"depth": 50}),
        "resnet101": ("resnets", "resnet", {"depth": 101}),
        "vgg16": ("vggs", "vgg", {"depth": 16}),
        "vgg19": ("vggs", "vgg", {"depth": 19}),
        "inception_v1": ("inceptions", "inception_v1", {}),
        "unet": ("unets", "unet", {}),
        "bert_base": ("transformers", "bert", {}),
        "decoder_small": ("transformers", "decoder", {}),
    }
)


def names() -> tuple[str, ...]:
    """The names that `build` knows, family by family."""
    return tuple(_NETWORKS)


def build(name: str, *, weights: bool = True) -> "onnx.ModelProto":
    """Build one network as it was published: fp32, static batch of 1, seeded weights.

    Args:
        name: one of `names()`.
        weights: False leaves the float weights as shapes without data: milliseconds and kilobytes for any network,
            enough to infer shapes and to price it, not to run it.

    Raises:
        UsageError: no network has that name.
    """
    if name not in _NETWORKS:
        close = get_close_matches(name, _NETWORKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_NETWORKS)}"
        raise UsageError(f"no zoo network is called {name!r}; {hint}")
    module, function, options = _NETWORKS[name]
    builder = getattr(import_module(f"roofwright.graph.zoo.{module}"), function)
    return cast("onnx.ModelProto", builder(**options, weights=weights))
