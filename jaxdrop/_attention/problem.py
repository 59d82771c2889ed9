"""What one call of attention is about, checked, and which pairs of it attend to each other."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.broadcast import named_sharding, shared_sharding, spread
from jaxdrop._core.index import Limbs
from jaxdrop._core.mask import MaskParams, draw_mask, mask_layout
from jaxdrop._core.masked_scale import masked_scale
from jaxdrop._core.mesh import Names
from jaxdrop._core.rate import Rate
from jaxdrop._core.scale import product_dtype

DropoutOn = Literal["weights", "keys"]


def _static(**options: Any) -> Any:
    """A field that is part of a compiled program, where the others are its arguments."""
    return dataclasses.field(metadata={"static": True}, **options)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Drop:
    """What is dropped: from which words, at which rate, where the block lies in the whole."""

    words: Any
    params: Rate | MaskParams
    offset: tuple[Any, ...]  # of this block: b, h, i, j
    on: DropoutOn = _static()
    broadcast_dims: tuple[int, ...] = _static()
    whole: tuple[int, ...] = _static()  # [B, N, T, S]
    axes: Names = _static(default=())  # mesh axes that split these

    def weights(self, p: jax.Array, i: Any, j: Any) -> jax.Array:
        """Drop weights [b, n, t, s] of the tile that begins at query i and key j."""
        if self.on == "keys":
            return p
        block, base = self._layout(p.shape, i, j)
        return masked_scale(p, self.words, base, self.params, block=block, scaled=True)

    def keys(self, logits: jax.Array, i: Any, j: Any) -> jax.Array:
        """Exclude keys before the softmax."""
        if self.on == "weights":
            return logits
        block, base = self._layout(logits.shape, i, j)
        sharding = named_sharding(logits)
        drawn = shared_sharding(sharding, block.shape, logits.shape)
        mask = draw_mask(self.words, base, self.params, block, drawn)
        return jnp.where(spread(mask, logits.shape, sharding), logits, -jnp.inf)

    def _layout(self, shape: tuple[int, ...], i: Any, j: Any) -> tuple[Any, Limbs]:
        b, h, first, column = self.offset
        at = b, h, first + i, column + j
        block, base = mask_layout(shape, self.broadcast_dims, "fast", at, self.whole)
        return block._replace(axes=self.axes), base


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Which queries attend to which keys, apart from a mask that is an array."""

    is_causal: bool = _static(default=False)
    window: tuple[int, int] | None = _static(default=None)  # keys left and right of a query
    query_lengths: jax.Array | None = None  # [B]
    key_lengths: jax.Array | None = None  # [B]
    offset: tuple[Any, Any] = (0, 0)  # position of the first query and the first key

    def allowed(self, i: Any, j: Any, shape: tuple[int, int]) -> jax.Array | None:
        """Return which pairs of a tile attend, [1 or B, 1, t, s]; None for all of them.

        Args:
          i, j: the tile's first query and key.
          shape: (t, s).
        """
        query = i + self.offset[0] + jax.lax.broadcasted_iota(jnp.int32, (1, 1, shape[0], 1), 2)
        key = j + self.offset[1] + jax.lax.broadcasted_iota(jnp.int32, (1, 1, 1, shape[1]), 3)
        rules = []
        if self.is_causal:
            rules.append(query >= key)
        if self.window is not None:
            left, right = self.window
            rules += [query <= key + left, query >= key - right]
        if self.query_lengths is not None:
            rules.append(query < self.query_lengths[:, None, None, None])
        if self.key_lengths is not None:
            rules.append(key < self.key_lengths[:, None, None, None])
        return all_of(rules)

    def any_allowed(self, i: Any, j: Any, shape: tuple[int, int]) -> Any:
        """Say whether causality and the window leave anything of a tile; True if neither is set."""
        first_query, first_key = i + self.offset[0], j + self.offset[1]
        last_query, last_key = first_query + shape[0] - 1, first_key + shape[1] - 1
        rules = []
        if self.is_causal:
            rules.append(last_query >= first_key)
        if self.window is not None:
            left, right = self.window
            rules += [first_query <= last_key + left, last_query >= first_key - right]
        return all_of(rules)


class Problem(NamedTuple):
    """What is to be computed: ``dropout(softmax(scale * q k^T + bias)) v``."""

    q: jax.Array  # [B, N, T, H]
    k: jax.Array  # [B, K, S, H]
    v: jax.Array  # [B, K, S, H]
    bias: jax.Array | None  # broadcasts against [B, N, T, S], and so does the mask
    mask: jax.Array | None
    scale: Any
    pairs: Pairs
    drop: Drop | None


def all_of(rules: list[Any]) -> Any:
    """Return where all rules hold; None if there are none."""
    found = None
    for rule in rules:
        if rule is not None:
            found = rule if found is None else found & rule
    return found


def logits_of(q: jax.Array, k: jax.Array, scale: Any, bias: jax.Array | None) -> jax.Array:
    """Return ``scale * q k^T + bias`` in float32 at least.

    [B, N, t, H], [B, K, s, H] -> [B, N, t, s]
    """
    dtype = product_dtype(q.dtype)
    s = _by_heads("bkgth,bksh->bkgts", q, k, dtype) * jnp.asarray(scale, dtype)
    return s if bias is None else s + bias.astype(dtype)


def values_of(p: jax.Array, v: jax.Array) -> jax.Array:
    """Return ``p v``, summed in p's dtype.

    [B, N, t, s], [B, K, s, H] -> [B, N, t, H]
    """
    return _by_heads("bkgts,bksh->bkgth", p.astype(v.dtype), v, p.dtype)


def _by_heads(product: str, a: jax.Array, b: jax.Array, dtype: Any) -> jax.Array:
    """A product in which N / K heads of a share a head of b."""
    if a.shape[1] == b.shape[1]:
        return jnp.einsum(product.replace("g", ""), a, b, preferred_element_type=dtype)
    sharding = named_sharding(a)
    split = None
    if sharding is not None:
        batch, heads, *others = sharding.spec
        split = sharding.update(spec=jax.P(batch, heads, None, *others))
    groups = (a.shape[0], b.shape[1], a.shape[1] // b.shape[1], *a.shape[2:])
    y = jnp.einsum(
        product, jax.lax.reshape(a, groups, out_sharding=split), b, preferred_element_type=dtype
    )
    whole = (*a.shape[:3], y.shape[-1])
    if sharding is None:
        return y.reshape(whole)
    batch, heads, _, *others = jax.typeof(y).sharding.spec
    return jax.lax.reshape(
        y, whole, out_sharding=sharding.update(spec=jax.P(batch, heads, *others))
    )


def no_gradient(a: Any) -> Any:
    """The zero that a custom derivative returns for an argument."""
    if jnp.issubdtype(jnp.asarray(a).dtype, jnp.inexact):
        return jnp.zeros_like(a)
    return np.zeros(jnp.shape(a), jax.dtypes.float0)
