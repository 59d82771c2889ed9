"""patch_dropout: tokens are removed from the sequence, not zeroed."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, MeshAxes
from jaxdrop._core.checks import check_input, check_integer, check_shape
from jaxdrop._core.choice import choose_indices, share, static_mode, static_rate
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate


def patch_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "batch tokens features"],
    rate: float,
    *,
    prefix: int = 1,
    deterministic: bool = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "batch kept features"]:
    """Keep a random subset of the tokens of every example, and shorten the sequence to it.

    ``y = x[n, patch_indices(key, ...)[n]]``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0. At rate 1 the one
        token that is kept is still drawn.
      x: floating, complex or integer tokens (batch, tokens, features), position embedding added.
      rate: share of the tokens after the prefix to drop. A Python number, since the shape follows
        from it: ``tokens * (1 - rate)``, rounded down, are kept, and at least one.
      prefix: number of leading tokens, such as a class token, that are always kept.
      deterministic: True for test time, when all tokens are kept; a Python bool.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``. None may split
        the tokens, of which one shard would keep more than another.

    Returns:
      Array (batch, prefix + kept, features) in x's dtype, the tokens in their order. Nothing is
      scaled: a token that is kept is unchanged.

    Raises:
      TypeError: if rate or deterministic is traced or an array, since a shape follows from it.
      ValueError: as ``dropout``, and if x does not have three dimensions, or fewer tokens than
        prefix.

    timm keeps ``max(1, int(tokens * (1. - rate)))``, which is one token fewer where the product of
    floats falls short of an integer: 9 of 100 at rate 0.9, where 10 are kept here.

    Not for: networks that need every position, such as windowed attention or dense prediction.

    Reference:
      Liu et al., PatchDropout: Economizing Vision Transformers Using Patch Dropout, 2022.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x = jnp.arange(9.0).reshape(1, 9, 1)
    >>> jaxdrop.patch_dropout(jax.random.key(0), x, 0.5).shape
    (1, 5, 1)
    """
    x = check_input(x, "patch_dropout", integers=True)
    if x.ndim != 3:
        raise ValueError(f"got x of shape {x.shape}; patch_dropout takes (batch, tokens, features)")
    batch, tokens, _ = x.shape
    names = placed_rows(mesh_axes, key, x, "patch_dropout")
    kept = choose_tokens(key, (batch, tokens), rate, prefix, deterministic, "patch_dropout", names)
    if kept.shape[1] == tokens:
        return x
    return jnp.take_along_axis(x, kept[:, :, None], axis=1)


def patch_indices(
    key: AnyKey | None,
    shape: tuple[int, int],
    rate: float,
    *,
    prefix: int = 1,
    deterministic: bool = False,
) -> jax.Array:
    """Choose the tokens that ``patch_dropout`` keeps, for masks or positions that must match them.

    Args:
      key, rate, prefix, deterministic: as in ``patch_dropout``.
      shape: (batch, tokens), the prefix included.

    Returns:
      int32 array (batch, prefix + kept) of increasing positions. Every subset of that size is
      equally likely, except for ties of two 32-bit words (P < tokens**2 / 2**33), which go to the
      earlier token.

    Raises:
      TypeError: if rate or deterministic is traced or an array.
      ValueError: if shape is not (batch, tokens), or prefix is more than tokens.

    >>> import jax, jaxdrop
    >>> jaxdrop.patch_indices(jax.random.key(0), (2, 9), 0.5).tolist()
    [[0, 3, 4, 6, 8], [0, 1, 4, 7, 8]]
    """
    return choose_tokens(key, shape, rate, prefix, deterministic, "patch_dropout")


def placed_rows(mesh_axes: MeshAxes, key: Any, x: jax.Array, caller: str) -> Names:
    """``placed`` for examples from which tokens are chosen: the names of (batch, tokens)."""
    names = placed(mesh_axes, key, x)[:2]
    if any(names[1:]):
        raise ValueError(
            f"got {mesh_axes=}, by which {names[1]} splits the tokens; {caller} chooses among all "
            "tokens of an example: use it where each shard has all of them, or fold "
            "jax.lax.axis_index into the key, leave the axis out, and each chooses among its own"
        )
    return names


def choose_tokens(
    key: Any,
    shape: tuple[int, int],
    rate: float,
    prefix: int,
    deterministic: bool,
    caller: str,
    names: Names = (),
) -> jax.Array:
    """``patch_indices`` for any caller, which the errors name."""
    mode = static_mode(deterministic, caller)
    sizes = check_shape(shape)
    if len(sizes) != 2:
        raise ValueError(f"got {shape=}; patch_indices takes (batch, tokens)")
    batch, tokens = sizes
    first = check_integer(prefix, "prefix", "the number of leading tokens to keep")
    if not 0 <= first <= tokens:
        raise ValueError(f"got {prefix=} for {tokens} tokens, expected 0 <= prefix <= tokens")
    checked = check_rate(rate)
    dropped = static_rate(checked, rate, caller, "tokens")
    key, test_mode = resolve(key, checked, mode, caller, draws_at_one=True)
    patches = tokens - first
    whole = jax.lax.broadcasted_iota(jnp.int32, (batch, tokens), 1)
    if test_mode is True or patches == 0:
        return whole
    kept = max(1, int(share(patches, dropped)))
    chosen = choose_indices(key, (batch, patches), kept, names)
    return jnp.concatenate([whole[:, :first], chosen + first], axis=1)
