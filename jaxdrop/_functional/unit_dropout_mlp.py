"""unit_dropout_mlp: a chain of dense layers whose dropped hidden units are not computed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, MeshAxes
from jaxdrop._core.checks import check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._functional.unit_chain import check_inputs, check_layers, choose, unit_chain

_NAME = "unit_dropout_mlp"


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
    mesh_axes: MeshAxes = (),
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
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``jaxdrop.dropout``, but
        for its last dimension, which each unit looks at. ``groups`` are then those of the whole
        batch, of which each shard takes its own. Hidden units that are split over an axis are
        another matter, since all shards keep as many: leave ``mesh_axes`` out and give each the
        key ``fold_in(key, axis_index(axis))``, so that it chooses among its own.

    Returns:
      Array (batch, ..., outputs). A kept unit is multiplied by n / k, for k of n that are kept, so
      that E[h] is the hidden layer of test time; its dtype is that of x and the kernels.

    Not for: layers with something between that looks at all units, such as a normalisation, or
    whose units something else reads: gather there by ``take_units``. Batches of one example:
    likewise. Convolutions have ``unit_dropout_conv``.

    Raises:
      TypeError: if a rate or deterministic is traced, or a layer is no dict.
      ValueError: as ``kept_units``, and if the shapes of layers or groups do not fit, or
        ``mesh_axes`` splits the last dimension.

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
    dense = check_layers(layers, _NAME)
    expected = "x (batch, ..., inputs) and a kernel (inputs, outputs)"
    check_inputs(x, dense[0].kernel, 0, expected)
    return unit_chain(
        _NAME,
        jnp.matmul,
        key,
        x,
        rate,
        dense,
        activation=activation,
        block_size=block_size,
        contiguous=contiguous,
        groups=groups,
        deterministic=deterministic,
        mesh_axes=mesh_axes,
    )


def unit_dropout_mlp_kept(
    key: AnyKey | None,
    rate: float | Sequence[float],
    layers: Sequence[Mapping[str, Any]],
    *,
    block_size: int = 1,
    contiguous: bool = False,
) -> list[dict[str, tuple[jax.Array | None, ...]]]:
    """Return which units of the parameters ``unit_dropout_mlp`` uses with the same arguments.

    And which channels of the parameters ``unit_dropout_conv`` uses: their choices are the same.

    Args:
      key, rate, layers, block_size, contiguous: as in ``unit_dropout_mlp`` or
        ``unit_dropout_conv``, for one group.

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
    checked = check_layers(layers, "unit_dropout_mlp_kept")
    chosen = choose(key, checked, rate, block_size, contiguous, 1, "unit_dropout_mlp_kept")
    outputs = [*(None if c is None else c[0] for c in chosen), None]
    inputs = [None, *outputs]
    kept: list[dict[str, tuple[jax.Array | None, ...]]] = []
    for layer, into, out in zip(checked, inputs, outputs, strict=False):
        window = (None,) * (layer.kernel.ndim - 2)
        kept.append({"kernel": (*window, into, out)})
        if layer.bias is not None:
            kept[-1]["bias"] = (out,)
    return kept
