"""take: some slices of an array along one axis, with a gradient that is a gather as well.

The plain gradient of a gather is a scatter, a loop over the slices that XLA cannot fuse. Where no
slice is taken twice, each slice of the gradient is one slice of the result's gradient, or zero, so
that it is a gather by the inverse positions: a pass that fuses into whatever reads the gradient,
such as the step of an optimizer. ``take`` and ``put`` are linear, each the other's transpose.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxdrop._core.varying import alike


def take(x: jax.Array, units: jax.Array, axis: int) -> jax.Array:
    """Return the slices of x at the units: different ones, and of x."""
    return _take_p.bind(*alike(x, units), axis=axis)


def put(y: jax.Array, units: jax.Array, axis: int, n: int) -> jax.Array:
    """Return an array of n slices: those of y at the units, and zeros."""
    return _put_p.bind(*alike(y, units), axis=axis, n=n)


def positions(units: jax.Array, n: int) -> jax.Array:
    """Return where each of n is among the units, or -1 for those that are not there."""
    at = jnp.arange(units.shape[0], dtype=jnp.int32)
    at, units = alike(at, units)
    nowhere = alike(jnp.full(n, -1, jnp.int32), units)[0]
    return nowhere.at[units].set(at, unique_indices=True, mode="promise_in_bounds")


def _gather(x: jax.Array, at: jax.Array, axis: int) -> jax.Array:
    return x.at[(slice(None),) * axis + (at,)].get(mode="promise_in_bounds")


def _spread(y: jax.Array, units: jax.Array, *, axis: int, n: int) -> jax.Array:
    at = positions(units, n)
    there = jnp.expand_dims(at >= 0, tuple(d for d in range(y.ndim) if d != axis))
    slices = _gather(y, jnp.maximum(at, 0), axis)
    return jnp.where(jnp.broadcast_to(there, slices.shape), slices, jnp.zeros((), y.dtype))


def _batch(plain: Any, bind: Any) -> Any:
    def batch(args: Any, dims: Any, *, axis: int, **sizes: Any) -> Any:
        (array, units), (dim, of_units) = args, dims
        if of_units is None:
            return bind(jnp.moveaxis(array, dim, 0), units, axis=axis + 1, **sizes), 0
        # Each has units of its own: the plain form, which jax can map and differentiate.
        one = jax.vmap(lambda a, u: plain(a, u, axis=axis, **sizes), in_axes=dims)
        return one(array, units), 0

    return batch


def _shape(array: Any, axis: int, n: int) -> Any:
    return array.update(shape=(*array.shape[:axis], n, *array.shape[axis + 1 :]), weak_type=False)


def _linear(name: str, plain: Any, sizes: set[str], shape: Any, transpose: Any) -> Any:
    """Make a primitive that is linear in its first argument; ``sizes`` are its static ones."""
    primitive = Primitive(name)
    compiled = jax.jit(plain, static_argnames=tuple(sizes))
    primitive.def_impl(compiled)
    primitive.def_abstract_eval(shape)

    def tangent(primals: Any, tangents: Any, **sizes: Any) -> Any:
        (array, units), t = primals, tangents[0]
        y = primitive.bind(array, units, **sizes)
        if type(t) is ad.Zero:
            return y, ad.Zero(jax.typeof(y).to_tangent_aval())
        return y, primitive.bind(t, units, **sizes)

    ad.primitive_jvps[primitive] = tangent
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = _batch(plain, primitive.bind)
    mlir.register_lowering(primitive, mlir.lower_fun(plain, multiple_results=False))
    return primitive


def _transpose_of_take(ct: Any, x: Any, units: Any, *, axis: int) -> Any:
    if type(ct) is ad.Zero:
        return ad.Zero(x.aval), None
    return put(ct, units, axis, x.aval.shape[axis]), None


def _transpose_of_put(ct: Any, y: Any, units: Any, *, axis: int, n: int) -> Any:
    return ad.Zero(y.aval) if type(ct) is ad.Zero else take(ct, units, axis), None


_take_p = _linear(
    "take_units",
    _gather,
    {"axis"},
    lambda x, units, axis: _shape(x, axis, units.shape[0]),
    _transpose_of_take,
)
_put_p = _linear(
    "put_units",
    _spread,
    {"axis", "n"},
    lambda y, units, axis, n: _shape(y, axis, n),
    _transpose_of_put,
)
