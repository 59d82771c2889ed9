"""dot_product_attention as the ``attention_fn`` of Flax's NNX modules."""

from typing import Any

import jax
from flax.nnx import Module
from flax.nnx.nn.attention import dot_product_attention_weights
from flax.nnx.nn.dtypes import promote_dtype

from jaxdrop._attention.problem import DropoutOn
from jaxdrop._core.annotations import MeshAxes
from jaxdrop._flax.attention import attend


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    broadcast_dropout: bool = True,
    dropout_rng: Any = None,
    dropout_rate: Any = 0.0,
    deterministic: Any = False,
    dtype: Any = None,
    precision: Any = None,
    module: Module | None = None,
    is_causal: bool = False,
    *,
    dropout_on: DropoutOn = "weights",
    implementation: Any = None,
    block_q: int | None = None,
    block_kv: int | None = None,
    mesh_axes: MeshAxes = (),
) -> jax.Array:
    """``jaxdrop.dot_product_attention`` with the arguments of NNX's own.

    ``y = where(m, softmax(q k^T / sqrt(H) + bias) / (1 - rate), 0) v``

    Pass it as ``attention_fn`` to ``flax.nnx.MultiHeadAttention``:
    dropout then takes no memory of the size of the weights, and test time is
    ``jax.nn.dot_product_attention``. To set an option, pass
    ``functools.partial(dot_product_attention, dropout_on="keys")``. A traced rate does not go
    through the module, which compares it; let a function with the module's arguments pass it here.

    Args:
      query, key, value: [..., length, heads, size]; key and value may have fewer heads.
      bias, mask: broadcast against [..., heads, queries, keys].
      broadcast_dropout: one mask for all examples and heads. True is what Flax's modules pass
        unless they are told otherwise; set ``broadcast_dropout=False`` there, for a mask for each.
      dropout_rng, dropout_rate, deterministic, dtype, precision: as in Flax.
      module: where the weights before dropout are sown, which holds them in memory.
      is_causal, dropout_on, implementation, block_q, block_kv: as in
        ``jaxdrop.dot_product_attention``.
      mesh_axes: inside ``shard_map``, for each dimension of query the mesh axis that splits it; of
        several batch dimensions only the first one may be split.

    Returns:
      Array of the shape of query.

    Raises:
      ValueError: for a precision that differs between the products.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = nnx.MultiHeadAttention(
    ...     num_heads=2, in_features=8, decode=False, dropout_rate=0.5, broadcast_dropout=False,
    ...     attention_fn=jaxdrop.nnx.dot_product_attention, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((1, 5, 8)), deterministic=False).shape
    (1, 5, 8)
    """
    query, key, value = promote_dtype((query, key, value), dtype=dtype)

    def sow() -> Any:
        dot_product_attention_weights(
            query, key, bias, mask, deterministic=True, precision=precision, module=module,
            is_causal=is_causal,
        )  # fmt: skip

    return attend(
        query, key, value, bias, mask,
        broadcast_dropout=broadcast_dropout, dropout_rng=dropout_rng, dropout_rate=dropout_rate,
        deterministic=deterministic, precision=precision, sow=None if module is None else sow,
        is_causal=is_causal, dropout_on=dropout_on, implementation=implementation,
        block_q=block_q, block_kv=block_kv, mesh_axes=mesh_axes,
    )  # fmt: skip
