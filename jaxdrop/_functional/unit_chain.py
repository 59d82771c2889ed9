"""unit_chain: a chain of products whose dropped hidden units are not computed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import (
    check_count,
    check_function,
    check_input,
    check_mapping,
    check_sequence,
    check_switch,
)
from jaxdrop._core.choice import static_rate
from jaxdrop._core.key import check_key, typed
from jaxdrop._core.mesh import part_of, placed
from jaxdrop._core.rate import check_rate
from jaxdrop._core.scale import scaled
from jaxdrop._core.take import take
from jaxdrop._functional.kept_units import kept_units

_LAYER = (
    'a dict {"kernel": (*window, inputs, outputs), "bias": (outputs,)}, the bias may be left out'
)


class Layer(NamedTuple):
    """A linear layer: kernel (*window, inputs, outputs), without a window if it is dense."""

    kernel: jax.Array
    bias: jax.Array | None


def unit_chain(
    caller: str,
    product: Callable[[jax.Array, jax.Array], jax.Array],
    key: Any,
    x: jax.Array,
    rate: float | Sequence[float],
    layers: Sequence[Layer],
    *,
    activation: Callable[[jax.Array], jax.Array],
    block_size: int,
    contiguous: bool,
    groups: int,
    deterministic: bool,
    mesh_axes: MeshAxes,
) -> jax.Array:
    """Apply the layers with ``product(x, kernel)``; the units are the last dimension of a result.

    The arguments are those of ``unit_dropout_mlp``; x and layers are checked.
    """
    check_function(
        activation, "activation", "expected a function of one array, such as jax.nn.relu"
    )
    whole = check_count(groups, "groups", "parts of the batch")
    test_mode = check_switch(deterministic, "deterministic")
    dense = layers[0].kernel.ndim == 2
    names = placed(mesh_axes, None if test_mode else key, x)
    if any(names[x.ndim - 1 if dense else 1 :]):
        raise ValueError(
            f"got {mesh_axes=}, which splits what each unit looks at; {caller} takes an x that is "
            f"split over {'any dimension but the last' if dense else 'the batch'}"
        )
    at, shards = part_of(names, 0) if whole > 1 else (0, 1)
    if whole % shards or x.shape[0] % (whole // shards):
        batch = f"a batch of {x.shape[0]}" + (f" on each of {shards} shards" if shards > 1 else "")
        raise ValueError(f"got {groups=} for {batch}, expected a divisor of it")
    if test_mode:
        return _run(x, layers, [None] * (len(layers) - 1), product, activation)
    own = whole // shards
    chosen = [
        c if c is None or shards == 1 else jax.lax.dynamic_slice_in_dim(c, at * own, own)
        for c in choose(key, layers, rate, block_size, contiguous, whole, caller)
    ]
    ys = [
        _run(part, layers, [None if c is None else c[g] for c in chosen], product, activation)
        for g, part in enumerate(jnp.split(x, own))
    ]
    return ys[0] if own == 1 else jnp.concatenate(ys)


def _run(
    x: jax.Array,
    layers: Sequence[Layer],
    chosen: Sequence[jax.Array | None],
    product: Callable[[jax.Array, jax.Array], jax.Array],
    activation: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    before: jax.Array | None = None
    h = x
    for layer, units in zip(layers, [*chosen, None], strict=True):
        inputs, outputs = layer.kernel.ndim - 2, layer.kernel.ndim - 1
        h = product(h, _take(_take(layer.kernel, before, inputs), units, outputs))
        if layer.bias is not None:
            h = h + jnp.broadcast_to(_take(layer.bias, units, 0), h.shape)
        if layer is not layers[-1]:
            h = activation(h)
        if units is not None:
            h = scaled(h, layer.kernel.shape[-1] / units.shape[0])
        before = units
    return h


def _take(array: jax.Array, units: jax.Array | None, axis: int) -> jax.Array:
    return array if units is None else take(array, units, axis)


def choose(
    key: Any,
    layers: Sequence[Layer],
    rate: Any,
    block_size: int,
    contiguous: bool,
    groups: int,
    caller: str,
) -> list[jax.Array | None]:
    """Choose the units of each hidden layer, (groups, k); None where all are kept."""
    hidden = layers[:-1]
    rates = [rate] * len(hidden)
    if isinstance(rate, tuple | list):
        if len(rate) != len(hidden):
            raise ValueError(
                f"got {len(rate)} rates for {len(hidden)} hidden layers, expected one for each"
            )
        rates = list(rate)
    numbers = [static_rate(check_rate(r), r, caller, "units") for r in rates]
    if any(numbers):
        key = typed(check_key(key, caller))
    chosen: list[jax.Array | None] = []
    for i, (layer, number) in enumerate(zip(hidden, numbers, strict=True)):
        n = layer.kernel.shape[-1]
        own = jax.random.fold_in(key, i) if number else None
        units = kept_units(
            own, n, number, block_size=block_size, contiguous=contiguous, groups=groups
        )
        chosen.append(None if units.shape[1] == n else units)
    return chosen


def check_layers(layers: Any, caller: str) -> list[Layer]:
    """Return the layers of a chain, all of them dense or of windows of one rank."""
    given = check_sequence(layers, "layers", f"a sequence of layers, each {_LAYER}")
    if len(given) < 2:
        raise ValueError(
            f"got {len(given)} layers, expected two or more: the last has no hidden units"
        )
    checked = [_check_layer(layer, f"layers[{i}]", caller) for i, layer in enumerate(given)]
    for i, (layer, after) in enumerate(zip(checked, checked[1:], strict=False)):
        ranks = layer.kernel.ndim, after.kernel.ndim
        if ranks[0] != ranks[1] or layer.kernel.shape[-1] != after.kernel.shape[-2]:
            raise ValueError(
                f"got kernels of shapes {layer.kernel.shape} and {after.kernel.shape} in layers "
                f"{i} and {i + 1}, expected as many inputs as the layer before has outputs, and "
                "windows of as many dimensions"
            )
    return checked


def check_inputs(x: jax.Array, kernel: jax.Array, rank: int, expected: str) -> None:
    """Raise an error unless x fits the first kernel, whose window has ``rank`` dimensions."""
    if x.ndim < rank + 2 or kernel.ndim != rank + 2 or x.shape[-1] != kernel.shape[-2]:
        raise ValueError(
            f"got x of shape {x.shape} and a first kernel of shape {kernel.shape}, expected "
            f"{expected}"
        )


def _check_layer(layer: Any, name: str, caller: str) -> Layer:
    layer = check_mapping(layer, name, _LAYER)
    if "kernel" not in layer or layer.keys() - {"kernel", "bias"}:
        raise ValueError(
            f"got {name} with {sorted(map(str, layer))}, expected {_LAYER}; gather what stands "
            "between the layers by take_units"
        )
    kernel = check_input(layer["kernel"], caller, f"{name}['kernel']")
    bias = layer.get("bias")
    if bias is not None:
        bias = check_input(bias, caller, f"{name}['bias']")
    if kernel.ndim < 2 or (bias is not None and bias.shape != kernel.shape[-1:]):
        shapes = kernel.shape if bias is None else (kernel.shape, bias.shape)
        raise ValueError(f"got {name} of shapes {shapes}, expected {_LAYER}")
    return Layer(kernel, bias)
