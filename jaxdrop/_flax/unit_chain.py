"""What the Linen and NNX layers of unit_dropout_mlp and unit_dropout_conv do alike."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxdrop._core.checks import check_count, check_sequence
from jaxdrop._flax.call import call


def check_sizes(features: Any) -> list[int]:
    """Return the numbers of outputs of a chain's layers."""
    given = check_sequence(features, "features", "the numbers of outputs, such as (64, 10)")
    return [check_count(n, f"features[{i}]", "the number of outputs") for i, n in enumerate(given)]


def call_chain(
    layer: Any,
    function: Callable[..., jax.Array],
    key: Callable[[], jax.Array],
    inputs: jax.Array,
    rate: Any,
    mode: Any,
    layers: Sequence[Any],
    **options: Any,
) -> jax.Array:
    """``call`` with the options that every chain has, from a layer's attributes."""
    return call(
        function,
        key,
        inputs,
        rate,
        mode,
        draws_at_one=True,
        layers=layers,
        activation=layer.activation,
        block_size=layer.block_size,
        contiguous=layer.contiguous,
        groups=layer.groups,
        mesh_axes=layer.mesh_axes,
        **options,
    )
