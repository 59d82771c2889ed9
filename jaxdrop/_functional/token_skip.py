"""token_skip: tokens that go around the middle layers of a network, unchanged."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, MeshAxes
from jaxdrop._core.checks import check_function, check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._functional.layer_drop import check_output
from jaxdrop._functional.patch_dropout import choose_tokens, placed_rows


def token_skip(
    key: AnyKey | None,
    layers: Callable[[jax.Array, jax.Array], jax.Array],
    x: Inexact[AnyArray, "batch tokens features"],
    rate: float,
    *,
    prefix: int = 0,
    deterministic: bool = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "batch tokens features"]:
    """Let a random share of each example's tokens skip a stack of layers (random-LTD, TREAD).

    ``y[n, kept[n]] = layers(x[n, kept[n]], kept[n])``, the other tokens unchanged

    Args:
      key: a random key; may be None when deterministic is True or rate is 0.
      layers: function of the tokens that go through, (batch, kept, features), and their positions
        in the sequence, int32 (batch, kept); residual connections included. A causal mask over
        what it is given is right, since the positions increase; a position embedding, rotary or
        relative, and a mask of pairs have to be taken at the positions.
      x: floating, complex or integer tokens (batch, tokens, features).
      rate: share of the tokens after the prefix that skip the layers. A Python number, since a
        shape follows from it: ``tokens * (1 - rate)``, rounded down, go through, and at least one.
      prefix: number of leading tokens, such as a class token, that always go through.
      deterministic: True for test time, when all tokens go through; a Python bool.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``patch_dropout``.
        Nothing is sent.

    Returns:
      Array like x. Nothing is scaled: a token that skips the layers comes out as it went in.
      ``patch_indices(key, (batch, tokens), rate, prefix=prefix)`` says which tokens go through;
      every subset of that size is equally likely.

    Raises:
      TypeError: if rate or deterministic is traced or an array, or layers is no function.
      ValueError: as ``dropout``, and if x does not have three dimensions, or fewer tokens than
        prefix, or the layers return another shape or dtype than they get.

    Random-LTD chooses anew for each layer: call this for one layer at a time, each with a key of
    its own. TREAD chooses once for a stack. Both keep the first and last layers out of it.

    Not for: a stack that changes the number of tokens or of features, or that reads neighbours by
    index, such as convolution and windowed attention.

    Reference:
      Yao et al., Random-LTD: Random and Layerwise Token Dropping Brings Efficient Training for
      Large-scale Transformers, 2022; Krause et al., TREAD: Token Routing for Efficient
      Architecture-agnostic Diffusion Training, 2025.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x = jnp.arange(8.0).reshape(1, 8, 1)
    >>> y = jaxdrop.token_skip(jax.random.key(0), lambda h, positions: h + 10, x, 0.5, prefix=1)
    >>> y[0, :, 0].tolist()
    [10.0, 1.0, 2.0, 13.0, 14.0, 5.0, 16.0, 7.0]
    """
    check_function(layers, "layers", "token_skip takes a function of tokens and their positions")
    x = check_input(x, "token_skip", integers=True)
    if x.ndim != 3:
        raise ValueError(f"got x of shape {x.shape}; token_skip takes (batch, tokens, features)")
    shape = (x.shape[0], x.shape[1])
    names = placed_rows(mesh_axes, key, x, "token_skip")
    positions = choose_tokens(key, shape, rate, prefix, deterministic, "token_skip", names)
    if positions.shape == shape:
        return check_output(layers(x, positions), x, "token_skip")
    through = _take(x, positions)
    return _put(x, positions, check_output(layers(through, positions), through, "token_skip"))


# What is known of the positions, so that neither pass adds in an order that is left to chance.
_DIFFERENT: Any = dict(unique_indices=True, indices_are_sorted=True, mode="promise_in_bounds")


# Example by example, so that a batch that is split over devices stays where it is.
@jax.vmap
def _take(x: jax.Array, positions: jax.Array) -> jax.Array:
    return x.at[positions].get(**_DIFFERENT)


@jax.vmap
def _put(x: jax.Array, positions: jax.Array, tokens: jax.Array) -> jax.Array:
    return x.at[positions].set(tokens, **_DIFFERENT)
