"""Every Linen and NNX layer that draws, from the records of the members, by name."""

from typing import Any

import jax

import jaxdrop.nnx
from scripts.members import RECORDS, Layer

LAYERS: dict[str, Layer] = {layer.id: layer for record in RECORDS for layer in record.layers}

# class name -> (function, x, options), where the layer is made with a rate and those options
MODULES: dict[str, tuple[Any, jax.Array, dict[str, Any]]] = {
    layer.name: (record.function, layer.x, dict(layer.options))
    for record in RECORDS
    for layer in record.layers
    if layer.options is not None
}

# Names of layers that need a key at rate 1, too.
DRAWN_AT_ONE = {
    layer.name
    for record in RECORDS
    for layer in record.layers
    if any(case.rate_one is None for case in record.cases)
}


# Networks: their output follows no law of one element, so that no record has them. Their own tests
# (test_unit_dropout_layers.py) see to what the shared ones see to for layers; so do those of layers
# whose input is no single array.
NO_RECORD = {"UnitDropoutConv", "UnitDropoutMLP"}
NO_RECORD |= {name for record in RECORDS for name in record.own_layers}


def nnx_class(name: str) -> Any:
    """The NNX twin of a Linen layer, by the Linen name."""
    return getattr(jaxdrop.nnx, name) if name in NO_RECORD else LAYERS[name].nnx_class
