"""Networks built from their published tables, with seeded weights: `zoo:mobilenet_v2` and friends.

`build(name)` gives a network as it was published; the functions give its variants (width, resolution, depth, batch).
"""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.graph.zoo.inceptions import inception_v1
    from roofwright.graph.zoo.mobilenets import mobilenet_v1, mobilenet_v1_layers, mobilenet_v2
    from roofwright.graph.zoo.mobilenets_v3 import mobilenet_v3
    from roofwright.graph.zoo.net import Net, Value
    from roofwright.graph.zoo.registry import build, names
    from roofwright.graph.zoo.resnets import resnet
    from roofwright.graph.zoo.shufflenets import shufflenet_v1, shufflenet_v2
    from roofwright.graph.zoo.squeezenets import squeezenet
    from roofwright.graph.zoo.transformers import bert, decoder
    from roofwright.graph.zoo.unets import unet
    from roofwright.graph.zoo.vggs import vgg

_HOMES = {  # modules are in the plural: a submodule would hide a function of the same name
    "build": "registry",
    "names": "registry",
    "Net": "net",
    "Value": "net",
    "bert": "transformers",
    "decoder": "transformers",
    "inception_v1": "inceptions",
    "mobilenet_v1": "mobilenets",
    "mobilenet_v1_layers": "mobilenets",
    "mobilenet_v2": "mobilenets",
    "mobilenet_v3": "mobilenets_v3",
    "resnet": "resnets",
    "shufflenet_v1": "shufflenets",
    "shufflenet_v2": "shufflenets",
    "squeezenet": "squeezenets",
    "unet": "unets",
    "vgg": "vggs",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "build",
    "names",
    "Net",
    "Value",
    "bert",
    "decoder",
    "inception_v1",
    "mobilenet_v1",
    "mobilenet_v1_layers",
    "mobilenet_v2",
    "mobilenet_v3",
    "resnet",
    "shufflenet_v1",
    "shufflenet_v2",
    "squeezenet",
    "unet",
    "vgg",
]
__getattr__ = attach(__name__, _HOMES)
