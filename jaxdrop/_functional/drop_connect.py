"""drop_connect: drop weights instead of activations (Wan et al. 2013)."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import entry_axes, named_sharding
from jaxdrop._core.checks import check_count, check_input, check_switch
from jaxdrop._core.index import Limbs, add, block_layout, check_offsets, times, weyl_index
from jaxdrop._core.key import AnyKey, key_words
from jaxdrop._core.mask import mask_params
from jaxdrop._core.masked_scale import masked_scale
from jaxdrop._core.mesh import Names, axes_or_position, or_default, part_of, placed, shard_layout
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate, check_rate_shape
from jaxdrop._functional.dropout import dropout

# Summing the kernel gradients of several examples at a time is slow on CPUs: scripts/bench family.
CHUNK = 1


def drop_connect(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop the connections of a weight array and scale those that are kept.

    ``w' = where(keep, w / (1 - rate), 0)``, each weight independently

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: the weights, of any shape.
      rate: probability of dropping a weight, as in ``dropout``.
      deterministic: True for test time: the weights are returned as they are.
      mesh_axes: inside ``shard_map``, the mesh axes that split the weights, as in ``dropout``.

    Returns:
      Array like x. E[w'] = w and Var[w'] = w**2 rate / (1 - rate), so that the mean of the layer's
      output before the non-linearity is preserved. One mask serves every example that is multiplied
      by the returned weights; ``drop_connect_dense`` can draw one mask per example.

    Not for biases that a layer cannot do without, nor for the scale of a normalisation layer.

    Raises:
      ValueError: if a concrete rate is outside [0, 1], or key is None where a mask is drawn.

    Reference:
      Wan et al., Regularization of Neural Networks using DropConnect, 2013. There the test-time
      activation is sampled from a Gaussian that has the moments above; here it is the mean.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> w = jaxdrop.drop_connect(jax.random.key(0), jnp.ones((3, 2)), 0.5)
    >>> sorted(set(w.ravel().tolist()))
    [0.0, 2.0]
    """
    x = check_input(x, "drop_connect")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "drop_connect")
    mesh_axes = or_default(mesh_axes, x, weights=True)
    return dropout(key, x, rate, deterministic=test_mode, mesh_axes=mesh_axes)


def drop_connect_dense(
    key: AnyKey | None,
    x: Inexact[AnyArray, "*batch inputs"],
    rate: RateLike,
    kernel: Inexact[AnyArray, "inputs outputs"],
    *,
    per_example: bool = False,
    chunk: int = CHUNK,
    index_offset: Sequence[Any] = (),
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "*batch outputs"]:
    """Multiply by a kernel whose connections are dropped, once per batch or for each example.

    ``y[b] = x[b] @ where(keep[b], kernel / (1 - rate), 0)``

    With per_example=True the masks are those of one array of shape (examples, inputs, outputs) that
    never exists as a whole: ``chunk`` examples at a time are masked and multiplied, and again in
    the backward pass, so the memory beyond x and y is chunk copies of the kernel.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: inputs; all dimensions but the last count as examples.
      rate: probability of dropping a weight, as in ``dropout``; a scalar.
      kernel: weights, (inputs, outputs).
      per_example: False draws one mask for the whole call, and costs one masked kernel. True draws
        one mask per example as in the paper, and costs a mask of the kernel's size per example.
      chunk: with per_example, how many examples are computed at a time. 1 is fastest on CPUs; a
        device with idle cores and a small kernel may gain from more.
      index_offset: with per_example, ``(first,)``: the position of x's first example in the global
        batch. Needed for microbatches, and inside ``shard_map`` if not mesh_axes.
      deterministic: True for test time: ``x @ kernel``.
      mesh_axes: inside ``shard_map``, in place of index_offset: the mesh axes that split the
        examples of x, as in ``dropout``. A kernel that is split itself goes through
        ``drop_connect`` and ``jnp.matmul``.

    Returns:
      Array of shape ``(*batch, outputs)``. E[y] = x @ kernel and
      Var[y] = (x**2 @ kernel**2) rate / (1 - rate); examples are independent given x only with
      per_example=True.

    Raises:
      ValueError: as ``dropout``, and if x and kernel cannot be multiplied, or index_offset is given
        without per_example.

    Not for: biases, and several calls that should share one mask: use ``drop_connect`` on the
    kernel.

    Reference:
      Wan et al., Regularization of Neural Networks using DropConnect, 2013.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x, kernel = jnp.ones((4, 3)), jnp.ones((3, 2))
    >>> y = jaxdrop.drop_connect_dense(jax.random.key(0), x, 0.5, kernel, per_example=True)
    >>> sorted(set(y.ravel().tolist()))  # sums of three weights, each 0 or 2
    [0.0, 2.0, 4.0]
    """
    x = check_input(x, "drop_connect_dense")
    kernel = check_input(kernel, "drop_connect_dense", "kernel")
    if kernel.ndim != 2 or x.ndim < 1 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"got x of shape {x.shape} and a kernel of shape {kernel.shape}; drop_connect_dense "
            "multiplies (..., inputs) by (inputs, outputs)"
        )
    per_example, offsets = check_switch(per_example, "per_example"), check_offsets(index_offset)
    if len(offsets) > 1 or (offsets and not per_example):
        raise ValueError(
            f"got index_offset={offsets!r} with {per_example=}; only per_example=True "
            "has masks to place, and it takes (first_example,)"
        )
    if per_example and not offsets:
        mesh_axes = or_default(mesh_axes, x)
    names = axes_or_position(mesh_axes, x.ndim, offsets, None)
    if any(names[x.ndim - 1 :]):
        raise ValueError(
            f"got {mesh_axes=}, by which {names[-1]} splits the inputs that are summed; "
            "drop_connect_dense takes all of them: leave the axis out there, or multiply by a part "
            "of the kernel that went through drop_connect with mesh_axes"
        )
    if not offsets:
        placed(mesh_axes, key, x)
    chunk = check_count(chunk, "chunk", "the number of examples computed at a time")
    checked = check_rate(rate)
    check_rate_shape(checked, kernel.shape)
    key, test_mode = resolve(key, checked, deterministic, "drop_connect_dense")
    rows = math.prod(x.shape[:-1])
    if test_mode is True or rows == 0:
        return jnp.matmul(x, kernel)
    if not per_example or key is None:  # without a key, every example's weights are 0
        of_kernel = or_default((), kernel, weights=True)
        return jnp.matmul(
            x, dropout(key, kernel, rate, deterministic=test_mode, mesh_axes=of_kernel)
        )
    rows_of_all = rows * math.prod(part_of(names, d)[1] for d in range(x.ndim))
    block, base = block_layout((rows_of_all, *kernel.shape), offsets, None)
    params = mask_params(checked, kernel.dtype)
    y = _each(key, x, base, kernel, params, block.wide, min(chunk, rows), names)
    return y if test_mode is False else choose(test_mode, jnp.matmul(x, kernel), y)


@functools.partial(jax.jit, static_argnames=("wide", "chunk", "split_by"), inline=True)
def _each(
    key: Any,
    x: jax.Array,
    base: Limbs,
    kernel: jax.Array,
    params: Any,
    wide: bool,
    chunk: int,
    split_by: Names,
) -> jax.Array:
    """Multiply every row of x by its own masked kernel."""
    leading = x.shape[:-1]
    rows, count = _row_numbers(leading, split_by)
    # The index of the first weight of every row's kernel, in two words.
    starts = add(base, times(rows, kernel.size, count))
    starts = (starts[0].reshape(leading), jnp.broadcast_to(starts[1], rows.shape).reshape(leading))
    loop = functools.partial(_loop, wide=wide, chunk=chunk)
    words = key_words(key)
    sharding = named_sharding(x)
    if sharding is None or all(axis is None for axis in sharding.spec[:-1]):
        return loop(words, x, starts, kernel, params)
    # A loop cannot run over rows that are spread over devices: each device loops over its own.
    spread = PartitionSpec(*sharding.spec[:-1])
    names = {name for axes in spread for name in entry_axes(axes)}
    starts = jax.sharding.reshard(starts, sharding.update(spec=spread))
    split = named_sharding(kernel)
    if split is not None:  # an axis that splits the examples splits no kernel
        kept = (None if names & entry_axes(axes) else axes for axes in split.spec)
        kernel = jax.sharding.reshard(kernel, split.update(spec=PartitionSpec(*kept)))

    def local(words: Any, x: jax.Array, starts: Limbs, kernel: jax.Array, params: Any) -> Any:
        # Here and not in the loop: the kernel's gradient is then summed over devices only once.
        return loop(words, x, starts, jax.lax.pcast(kernel, tuple(names), to="varying"), params)

    whole = PartitionSpec()
    return jax.shard_map(
        local,
        mesh=sharding.mesh,
        in_specs=(whole, spread, spread, whole, whole),
        out_specs=spread,
        axis_names=names,
    )(words, x, starts, kernel, params)


def _row_numbers(leading: tuple[int, ...], names: Names) -> tuple[jax.Array, int]:
    """The number that each row has in the global batch, which is below 2**32, and their count."""
    count = math.prod(leading)
    if not names:
        return jnp.arange(count, dtype=jnp.uint32), count
    rows = weyl_index(*shard_layout(leading, names[: len(leading)]), multiplier=1)
    return rows.reshape(-1), count * math.prod(part_of(names, d)[1] for d in range(len(leading)))


def _loop(
    words: Any,
    x: jax.Array,
    starts: Limbs,
    kernel: jax.Array,
    params: Any,
    wide: bool,
    chunk: int,
) -> jax.Array:
    # Without the checkpoint, the backward pass would keep every example's masked kernel.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(words: Any, kernel: jax.Array, row: jax.Array, base: Limbs) -> jax.Array:
        block = block_layout((1, *kernel.shape), (), None)[0]._replace(wide=wide)
        masked = masked_scale(kernel[None], words, base, params, block=block, scaled=True)
        return jnp.matmul(row, masked[0])

    y = jax.lax.map(
        lambda pair: one(words, kernel, *pair),
        (x.reshape(starts[0].size, x.shape[-1]), tuple(limb.reshape(-1) for limb in starts)),
        batch_size=None if chunk == 1 else chunk,
    )
    return y.reshape(*x.shape[:-1], kernel.shape[1])
