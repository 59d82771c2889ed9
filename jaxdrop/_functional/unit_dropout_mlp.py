"""unit_dropout_mlp: a chain of dense layers whose dropped hidden units are not computed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import (
    check_count,
    check_function,
    check_input,
    check_mapping,
    check_sequence,
    check_switch,
)
from jaxdrop._core.choice import static_rate
from jaxdrop._core.key import AnyKey, check_key, typed
from jaxdrop._core.rate import check_rate
from jaxdrop._core.scale import scaled
from jaxdrop._core.take import take
from jaxdrop._functional.kept_units import kept_units

_NAME = "unit_dropout_mlp"
_LAYER = 'a dict {"kernel": (inputs, outputs), "bias": (outputs,)}, the bias may be left out'


class _Dense(NamedTuple):
    kernel: jax.Array
    bias: jax.Array | None


def unit_dropout_mlp(
    key: AnyKey | None,
    x: Inexact[AnyArray, "batch *more inputs"],
    rate: float | Sequence[float],
    layers: Sequence[Mapping[str, Any]],
    *,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    block_size: int = 1,
    contiguous: bool = False,
    groups: int = 1,
    deterministic: bool = False,
) -> Inexact[Array, "batch *more outputs"]:
    """Apply dense layers with dropout of hidden units, without computing those that are dropped.

    ``h = activation(h @ kernel[kept before][:, kept] + bias[kept]) n / k`` for every layer but the
    last, which has all of its outputs

    The batch shares the choice, so that the products are of small matrices: at rate 0.5 a quarter
    of the work between two hidden layers, forward and backward. The result and every gradient are
    those of the full layers with a mask over the units; weights of units that are left out get a
    gradient of exactly zero.

    Args:
      key: a random key; may be None when deterministic is True or every rate is 0. Hidden layer i
        chooses by ``kept_units(fold_in(key, i), ...)``.
      x: inputs; the first dimension is the batch.
      rate: share of the hidden units to drop, in [0, 1); a Python number, or one for each hidden
        layer, since shapes follow from it.
      layers: two or more dicts with the parameters of flax's dense layers, ``kernel`` (inputs,
        outputs) and, where there is one, ``bias`` (outputs,).
      activation: applied to the kept units of each hidden layer, one by one.
      block_size, contiguous: as in ``kept_units``.
      groups: number of parts of the batch, one after the other, with choices of their own.
      deterministic: True for test time: the full layers.

    Returns:
      Array (batch, ..., outputs). A kept unit is multiplied by n / k, for k of n that are kept, so
      that E[h] is the hidden layer of test time; its dtype is that of x and the kernels.

    Not for: layers with something between that looks at all units, such as a normalisation, or
    whose units something else reads: gather there by ``take_units``. Batches of one example and
    convolutions: likewise.

    Raises:
      TypeError: if a rate or deterministic is traced, or a layer is no dict.
      ValueError: as ``kept_units``, and if the shapes of layers or groups do not fit.

    Reference:
      Srivastava et al., Dropout, 2014; Notin et al., SliceOut, 2020.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> layers = [{"kernel": jnp.ones((2, 8))}, {"kernel": jnp.ones((8, 1)), "bias": jnp.ones(1)}]
    >>> jaxdrop.unit_dropout_mlp(jax.random.key(0), jnp.ones((3, 2)), 0.5, layers).tolist()
    [[17.0], [17.0], [17.0]]
    >>> grads = jax.grad(
    ...     lambda layers: jaxdrop.unit_dropout_mlp(
    ...         jax.random.key(0), jnp.ones((3, 2)), 0.5, layers
    ...     ).sum()
    ... )(layers)
    >>> grads[1]["kernel"].ravel().tolist()  # four of eight units are there
    [0.0, 12.0, 0.0, 0.0, 12.0, 12.0, 12.0, 0.0]
    """
    x = check_input(x, _NAME)
    dense = _check_layers(layers)
    if x.ndim < 2 or x.shape[-1] != dense[0].kernel.shape[0]:
        raise ValueError(
            f"got x of shape {x.shape} and a first kernel of shape {dense[0].kernel.shape}, "
            "expected x (batch, ..., inputs) and a kernel (inputs, outputs)"
        )
    check_function(
        activation, "activation", "expected a function of one array, such as jax.nn.relu"
    )
    parts = check_count(groups, "groups", "parts of the batch")
    if x.shape[0] % parts:
        raise ValueError(f"got {groups=} for a batch of {x.shape[0]}, expected a divisor of it")
    if check_switch(deterministic, "deterministic"):
        return _run(x, dense, [None] * (len(dense) - 1), activation)
    chosen = _choose(key, dense, rate, block_size, contiguous, parts)
    ys = [
        _run(part, dense, [None if c is None else c[g] for c in chosen], activation)
        for g, part in enumerate(jnp.split(x, parts))
    ]
    return ys[0] if parts == 1 else jnp.concatenate(ys)


def unit_dropout_mlp_kept(
    key: AnyKey | None,
    rate: float | Sequence[float],
    layers: Sequence[Mapping[str, Any]],
    *,
    block_size: int = 1,
    contiguous: bool = False,
) -> list[dict[str, tuple[jax.Array | None, ...]]]:
    """Return which units of the parameters ``unit_dropout_mlp`` uses with the same arguments.

    Args:
      key, rate, layers, block_size, contiguous: as in ``unit_dropout_mlp``, for one group.

    Returns:
      A list like layers. In place of each array a tuple with one entry for each of its dimensions:
      the int32 array of kept units, or None where all are used; this is what
      ``jaxdrop.training.update_kept`` takes.

    Raises:
      TypeError, ValueError: as ``unit_dropout_mlp``.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> layers = [{"kernel": jnp.ones((2, 8))}, {"kernel": jnp.ones((8, 1)), "bias": jnp.ones(1)}]
    >>> first, last = jaxdrop.unit_dropout_mlp_kept(jax.random.key(0), 0.5, layers)
    >>> first["kernel"][1].tolist(), last["bias"]
    ([1, 4, 5, 6], (None,))
    """
    dense = _check_layers(layers)
    chosen = _choose(key, dense, rate, block_size, contiguous, 1)
    outputs = [*(None if c is None else c[0] for c in chosen), None]
    inputs = [None, *outputs]
    kept: list[dict[str, tuple[jax.Array | None, ...]]] = []
    for layer, into, out in zip(dense, inputs, outputs, strict=False):
        kept.append({"kernel": (into, out)})
        if layer.bias is not None:
            kept[-1]["bias"] = (out,)
    return kept


def _run(
    x: jax.Array,
    layers: Sequence[_Dense],
    chosen: Sequence[jax.Array | None],
    activation: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    before: jax.Array | None = None
    h = x
    for layer, units in zip(layers, [*chosen, None], strict=True):
        kernel = _take(_take(layer.kernel, before, 0), units, 1)
        h = jnp.matmul(h, kernel)
        if layer.bias is not None:
            h = h + jnp.broadcast_to(_take(layer.bias, units, 0), h.shape)
        if layer is not layers[-1]:
            h = activation(h)
        if units is not None:
            h = scaled(h, layer.kernel.shape[1] / units.shape[0])
        before = units
    return h


def _take(array: jax.Array, units: jax.Array | None, axis: int) -> jax.Array:
    return array if units is None else take(array, units, axis)


def _choose(
    key: Any, layers: Sequence[_Dense], rate: Any, block_size: int, contiguous: bool, groups: int
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
    numbers = [static_rate(check_rate(r), r, _NAME, "units") for r in rates]
    if any(numbers):
        key = typed(check_key(key, _NAME))
    chosen: list[jax.Array | None] = []
    for i, (layer, number) in enumerate(zip(hidden, numbers, strict=True)):
        n = layer.kernel.shape[1]
        own = jax.random.fold_in(key, i) if number else None
        units = kept_units(
            own, n, number, block_size=block_size, contiguous=contiguous, groups=groups
        )
        chosen.append(None if units.shape[1] == n else units)
    return chosen


def _check_layers(layers: Any) -> list[_Dense]:
    given = check_sequence(layers, "layers", f"a sequence of layers, each {_LAYER}")
    if len(given) < 2:
        raise ValueError(
            f"got {len(given)} layers, expected two or more: the last has no hidden units"
        )
    dense = [_check_layer(layer, f"layers[{i}]") for i, layer in enumerate(given)]
    for i, (layer, after) in enumerate(zip(dense, dense[1:], strict=False)):
        if layer.kernel.shape[1] != after.kernel.shape[0]:
            raise ValueError(
                f"got kernels of shapes {layer.kernel.shape} and {after.kernel.shape} in layers "
                f"{i} and {i + 1}, expected as many inputs as the layer before has outputs"
            )
    return dense


def _check_layer(layer: Any, name: str) -> _Dense:
    layer = check_mapping(layer, name, _LAYER)
    if "kernel" not in layer or layer.keys() - {"kernel", "bias"}:
        raise ValueError(
            f"got {name} with {sorted(map(str, layer))}, expected {_LAYER}; gather what stands "
            "between dense layers by take_units"
        )
    kernel = check_input(layer["kernel"], _NAME, f"{name}['kernel']")
    bias = layer.get("bias")
    if bias is not None:
        bias = check_input(bias, _NAME, f"{name}['bias']")
    if kernel.ndim != 2 or (bias is not None and bias.shape != kernel.shape[1:]):
        shapes = kernel.shape if bias is None else (kernel.shape, bias.shape)
        raise ValueError(f"got {name} of shapes {shapes}, expected {_LAYER}")
    return _Dense(kernel, bias)
