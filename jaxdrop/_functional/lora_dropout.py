"""lora_dropout: dropout of the input of a low-rank adapter, and not of the layer that it adapts."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.checks import check_input, check_number
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._core.scale import scaled
from jaxdrop._functional.dropout import dropout


def lora_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "... inputs"],
    rate: RateLike,
    *,
    lora_a: Inexact[AnyArray, "inputs rank"],
    lora_b: Inexact[AnyArray, "rank outputs"],
    scale: float = 1.0,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "... outputs"]:
    """Compute what a low-rank adapter adds to a layer, its input dropped.

    ``y = scale * dropout(x) @ lora_a @ lora_b``; used as ``layer(x) + lora_dropout(key, x, ...)``,
    where the layer gets all of x.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex input of the adapted layer, (..., inputs).
      rate: probability of dropping an element of x, as in ``dropout``.
      lora_a, lora_b: the adapter's matrices, in x's dtype.
      scale: what the product is multiplied by: ``alpha / rank`` in most libraries.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array (..., outputs) with E[y] = that of test time.

    Raises:
      TypeError: as ``dropout``, for x and the matrices.
      ValueError: as ``dropout``, and if the matrices do not fit x or each other.

    Not for: adapters of few steps on much data, which have little to overfit with.

    Reference:
      Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2022.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> a, b = jnp.eye(4, 2), jnp.eye(2, 3)
    >>> jaxdrop.lora_dropout(jax.random.key(0), jnp.ones((2, 4)), 0.5, lora_a=a, lora_b=b).tolist()
    [[2.0, 2.0, 0.0], [2.0, 0.0, 0.0]]
    """
    x = check_input(x, "lora_dropout")
    a, b = (
        check_input(lora_a, "lora_dropout", "lora_a"),
        check_input(lora_b, "lora_dropout", "lora_b"),
    )
    check_number(
        scale, "scale", "a number, such as alpha / rank", lambda s: s == s and abs(s) < jnp.inf
    )
    if not x.ndim or a.ndim != 2 or b.ndim != 2 or x.shape[-1:] + b.shape[:1] != a.shape:
        raise ValueError(
            f"got x, lora_a and lora_b of shapes {x.shape}, {a.shape} and {b.shape}; lora_dropout "
            "takes (..., inputs), (inputs, rank) and (rank, outputs)"
        )
    if not x.dtype == a.dtype == b.dtype:
        raise TypeError(
            f"got x, lora_a and lora_b of dtypes {x.dtype}, {a.dtype} and {b.dtype}; lora_dropout "
            "takes one dtype: convert the matrices first, for example lora_a.astype(x.dtype)"
        )
    key, test_mode = resolve(key, check_rate(rate), deterministic, "lora_dropout")
    y = dropout(key, x, rate, deterministic=test_mode, mesh_axes=mesh_axes)
    return _add_on(y, a, b, scale)


def _add_on(x: jax.Array, a: jax.Array, b: jax.Array, scale: Any) -> jax.Array:
    y = x @ a @ b
    return y if isinstance(scale, float) and scale == 1.0 else scaled(y, scale)
