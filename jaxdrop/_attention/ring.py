"""Attention to keys that lie on other devices: their blocks go round a ring (Liu et al., 2023).

Each device keeps its queries and what they have got so far; keys and values are passed on from
device to device until each has seen all. The backward pass sends them round once more, with the
gradients that they collect, and computes each tile's weights from the logits and the sum of their
exponentials: no device ever holds the keys of another one but those at hand.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop._attention.blockwise import KeyBlocks, Sums, add_keys, alike, nothing_yet
from jaxdrop._attention.pieces import Pieces, Tiles
from jaxdrop._attention.problem import Problem, no_gradient
from jaxdrop._core.scale import product_dtype
from jaxdrop._core.varying import as_varying_as


class Ring(NamedTuple):
    """What is known before tracing."""

    axis_name: str
    queries: Tiles
    keys: Tiles

    @property
    def devices(self) -> int:
        return len(self.keys.starts)


def ring(
    given: Problem, axis_name: str, pieces: tuple[Pieces, Pieces], sizes: tuple[int, int]
) -> jax.Array:
    """``blockwise`` for a device's part of queries, keys and values.

    Args:
      given: the part, with offsets of 0 for queries and keys.
      axis_name: the mesh axis that splits both.
      pieces: those of queries and of keys that each device takes.
      sizes: queries and keys of a tile, at most.
    """
    given = alike(given, jax.lax.axis_index(axis_name))
    queries, keys = pieces
    around = Ring(axis_name, queries.tiles(sizes[0]), keys.tiles(sizes[1]))
    q = around.queries.stacked(queries.take(given.q, axis_name))
    k, v = (around.keys.stacked(keys.take(a, axis_name)) for a in (given.k, given.v))
    y = _attend(around, given._replace(q=q, k=k, v=v))
    return queries.give_back(around.queries.unstacked(y, queries.sizes), axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(around: Ring, given: Problem) -> jax.Array:
    return _forward(around, given)[0]


def _forward(around: Ring, given: Problem) -> Any:
    def step(r: Any, carry: Any) -> Any:
        keys, sums = carry
        return _passed_on(around, keys), _add(around, r, sums, keys, given)

    start = (given.k, given.v), nothing_yet(given.q, given)
    _, sums = jax.lax.fori_loop(0, around.devices, step, start)
    y = sums.attention(given.v.dtype)
    return y, (given, y, sums.top + jnp.log(jnp.where(sums.total == 0, 1, sums.total)))


def _backward(around: Ring, kept: Any, dy: jax.Array) -> tuple[Problem]:
    """With weights ``exp(logit - log_total)``, whose total is 1 and whose acc is y.

    So the gradient of ``acc / total`` is that of ``acc - y * total``, a sum over the keys.
    """
    given, y, log_total = kept
    dtype = product_dtype(y.dtype)
    dy = dy.astype(dtype)
    of_total = -jnp.sum(dy * y.astype(dtype), axis=-1, keepdims=True)
    start = nothing_yet(given.q, given)._replace(top=log_total)

    def step(r: Any, carry: Any) -> Any:
        keys, of_keys, of_others = carry

        def tiles(others: Any, keys: Any) -> Any:
            q, scale = others
            sums = _add(around, r, start, keys, given._replace(q=q, scale=scale))
            return sums.total, sums.acc

        _, pull = jax.vjp(tiles, (given.q, given.scale), keys)
        more = pull((of_total, dy))
        of_others, of_keys = _sum((of_others, of_keys), more)
        return _passed_on(around, keys), _passed_on(around, of_keys), of_others

    zeros = jax.tree.map(
        lambda a: as_varying_as(jnp.zeros_like(a, product_dtype(a.dtype)), given),
        ((given.k, given.v), (given.q, given.scale)),
    )
    carry = (given.k, given.v), *zeros
    _, (k, v), (q, scale) = jax.lax.fori_loop(0, around.devices, step, carry)
    q, k, v = (a.astype(given.q.dtype) for a in (q, k, v))
    return (jax.tree.map(no_gradient, given)._replace(q=q, k=k, v=v, scale=scale),)


_attend.defvjp(_forward, _backward)


def _add(around: Ring, r: Any, sums: Sums, keys: Any, given: Problem) -> Sums:
    """Add what all of this device's queries get from the keys that are here after r steps."""
    me = jax.lax.axis_index(around.axis_name)
    size, counts, starts = around.keys
    at = jnp.asarray(starts, jnp.int32)[(me - r) % around.devices]
    count = None if min(counts) == size else jnp.asarray(counts, jnp.int32)
    here = KeyBlocks(at, count, *keys)

    @jax.checkpoint
    def rows(sums: Sums, i: Any, q: jax.Array) -> Sums:
        return add_keys(sums, i, q, here, given)

    mine = jnp.asarray(around.queries.starts, jnp.int32)[me]
    return jax.lax.scan(lambda _, of: (None, rows(*of)), None, (sums, mine, given.q))[1]


def _passed_on(around: Ring, tree: Any) -> Any:
    """Give the next device what is here."""
    n = around.devices
    return jax.lax.ppermute(tree, around.axis_name, [(d, (d + 1) % n) for d in range(n)])


def _sum(totals: Any, more: Any) -> Any:
    return jax.tree.map(lambda total, a: total + a.astype(total.dtype), totals, more)
