"""embedding_dropout: drop words of the vocabulary, by their rows of the embedding table."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Integer

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import broadcast_like, entry_axes
from jaxdrop._core.checks import array_of, check_input, known_values
from jaxdrop._core.keep_where import keep_where
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import mask_in_jit, mask_params
from jaxdrop._core.mesh import Names, apart_from, or_default, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate, check_rate_shape, scale
from jaxdrop._core.scale import product_dtype
from jaxdrop._functional.dropout import dropout


def embedding_dropout(
    key: AnyKey | None,
    table: Inexact[AnyArray, "words features"],
    rate: RateLike,
    ids: Integer[AnyArray, "..."] | None = None,
    *,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop whole words: every occurrence of a dropped word in the batch is zero.

    ``y = (table * m[:, None] / (1 - rate))[ids]``, ``P(m[word] = 0) = rate``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      table: embedding table, one row per word.
      rate: probability of dropping a word of the vocabulary.
      ids: integer words to look up; None returns the table itself. With ids the rows are dropped
        as they are read, and no second table is made. Concrete ids are checked (a JAX array is
        waited for): 0 <= id < words. Under jit they cannot be: an id of ``words`` or more reads the
        last row, one below 0 counts from the end.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split the table, as in ``dropout``. ids
        are rows of the shard's part of it.

    Returns:
      Array like table, or of shape ``ids.shape + (features,)``, with E[y] = the embedding and the
      variance of ``dropout``.

    Raises:
      TypeError: if ids are not integers.
      ValueError: as ``dropout``, and if the table does not have two dimensions or has no row for a
        concrete id.

    Not for: a table that is also the output layer's weight, unless the dropped copy is used for
    the input alone.

    Reference:
      Gal and Ghahramani, A Theoretically Grounded Application of Dropout in Recurrent Neural
      Networks, 2016.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> key, words = jax.random.key(0), jnp.array([3, 1, 3])
    >>> y = jaxdrop.embedding_dropout(key, jnp.ones((5, 4)), 0.5, words)
    >>> bool((y[0] == y[2]).all())
    True
    """
    table = check_input(table, "embedding_dropout", "table")
    if table.ndim != 2:
        raise ValueError(
            f"got a table of shape {table.shape}; embedding_dropout takes (words, features), one "
            "row per word"
        )
    mesh_axes = or_default(mesh_axes, table, weights=True)
    names = placed(mesh_axes, key, table)
    checked = check_rate(rate)
    key, test_mode = resolve(key, checked, deterministic, "embedding_dropout")
    if ids is None:
        return dropout(
            key, table, rate, broadcast_dims=(1,), deterministic=test_mode, mesh_axes=mesh_axes
        )
    given, ids = ids, check_ids(ids, "ids", "embedding_dropout")
    words = (table.shape[0], 1)
    known = known_values(given)  # a NumPy array is known inside jit, too
    if known is not None and known.size and (known.min() < 0 or known.max() >= table.shape[0]):
        raise ValueError(
            f"got ids from {known.min()} to {known.max()} for a table of {table.shape[0]} words, "
            f"expected 0 <= id < {table.shape[0]}"
        )
    check_rate_shape(checked, words)
    if test_mode is True:
        return look_up(table, ids)
    if checked.always and test_mode is False:
        return jnp.zeros_like(look_up(table, ids))
    # One bool and one factor for each word replace a second table, which is never made.
    factor = jnp.broadcast_to(scale(checked, product_dtype(table.dtype)), words)
    y = _read(key, table, ids, mask_params(checked), factor, apart_from(names, (1,)))
    return y if test_mode is False else choose(test_mode, look_up(table, ids), y)


@functools.partial(jax.jit, static_argnames="names", inline=True)
@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=5)
def _read(
    key: Any, table: jax.Array, ids: jax.Array, params: Any, factor: jax.Array, names: Names
) -> jax.Array:
    """Look up rows of words that are kept, each times the factor of its word."""
    rows = look_up(table, ids)
    mask = mask_in_jit(key, params, factor.shape, names=names)
    kept, scaled = (look_up(column, ids) for column in (mask, factor))
    return keep_where(broadcast_like(kept, rows), rows, broadcast_like(scaled, rows))


def look_up(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Look up rows; with explicit mesh axes, sharded as the ids are, and as the features are."""
    where, features = jax.typeof(ids).sharding, jax.typeof(table).sharding
    if where.mesh.empty and features.mesh.empty:
        return table[ids]
    trailing = () if features.mesh.empty else features.spec[1:]
    leading = where.spec if not where.mesh.empty else (None,) * ids.ndim
    taken = {axis for axes in leading for axis in entry_axes(axes)}
    # An axis can shard one dimension only.
    spec = jax.sharding.PartitionSpec(
        *leading, *(None if taken & entry_axes(axes) else axes for axes in trailing)
    )
    mesh = features.mesh if where.mesh.empty else where.mesh
    return table.at[ids].get(out_sharding=jax.sharding.NamedSharding(mesh, spec))


def check_ids(ids: Any, name: str, caller: str) -> jax.Array:
    takes = f"{caller} takes integer {name}, before the embedding"
    array = array_of(np.asarray(ids) if type(ids) is int else ids, name, takes)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"got {name} of dtype {array.dtype}; {takes}")
    return array
