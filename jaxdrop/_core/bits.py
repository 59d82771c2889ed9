"""random_bits: the only place in the library that draws random numbers."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array, UInt32

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_shape
from jaxdrop._core.index import Block, Limbs, block_layout, high_index, weyl_index
from jaxdrop._core.key import AnyKey, check_key, key_words
from jaxdrop._core.mesh import axes_or_position, shard_layout
from jaxdrop._core.mix import WEYL, rounds
from jaxdrop._core.varying import alike


def random_bits(
    key: AnyKey,
    shape: Sequence[int],
    *,
    index_offset: Sequence[Any] = (),
    global_shape: Sequence[int] | None = None,
    mesh_axes: MeshAxes = (),
) -> UInt32[Array, "..."]:
    """Draw uniform 32-bit words, each a function of the key and of its row-major index alone.

    Args:
      key: a random key of any implementation, or a legacy uint32 key of 2 or 4 words.
      shape: shape of the result; its size may exceed 2**32.
      index_offset: position of the first element in the global array, one integer per leading
        dimension. ``(first_row,)`` continues an array from that row on. Exact for arrays of up to
        2**64 elements. A concrete JAX array is waited for; a traced integer of any dtype is not
        checked, and a negative one, or one beyond the array, draws from elsewhere in the 2**64
        elements.
      global_shape: shape of the whole array of which the result is a block. Needed when the block
        does not span the trailing dimensions; otherwise it only saves the carry past 2**32.
      mesh_axes: inside ``shard_map``, in place of both: for each leading dimension of the result
        the mesh axis that splits it, as in ``dropout``.

    Returns:
      uint32 array: the block of the one array that (key, global_shape) stands for. It is the same
      under jit, vmap and any sharding, on any device.

    Raises:
      TypeError: if key is not a random key, or shape or an offset is not made of integers.
      ValueError: if the block does not fit into global_shape at index_offset, or mesh_axes does not
        fit the shape or the mesh.

    >>> import jax, jaxdrop
    >>> key = jax.random.key(0)
    >>> whole = jaxdrop.random_bits(key, (4, 3))
    >>> bool((jaxdrop.random_bits(key, (2, 3), index_offset=(2,)) == whole[2:]).all())
    True
    """
    key = check_key(key, "random_bits")
    shape = check_shape(shape)
    names = axes_or_position(mesh_axes, len(shape), index_offset, global_shape)
    if names:
        block, base = shard_layout(shape, names)
    else:
        block, base = block_layout(shape, index_offset, global_shape)
    return _random_bits(key, base, block)


@functools.partial(jax.jit, static_argnames="block", inline=True)
def _random_bits(key: Any, base: Limbs, block: Block) -> jax.Array:
    return word_bits(key_words(key), base, block)


def word_bits(words: jax.Array, base: Limbs, block: Block, sharding: Any = None) -> jax.Array:
    """Draw the block's bits from key words, as one JAX primitive.

    From plain code, JAX would hoist what is the same in every step out of a loop over layers, and
    store it: an index for every element.
    """
    return _bits_p.bind(*alike(words, *base), block=block, sharding=sharding, maps=())


def _compute(
    words: Any, low: Any, high: Any, *, block: Block, sharding: Any, maps: Any
) -> jax.Array:
    def draw(words: Any, low: Any, high: Any) -> jax.Array:
        base, start = (low, high), words[0]
        x0 = weyl_index(block, base, WEYL, sharding, start)
        return rounds(x0, high_index(block, base, sharding), words)

    for dims in maps:
        draw = jax.vmap(draw, dims)
    return draw(words, low, high)


def _type(*args: Any, **params: Any) -> Any:
    return jax.make_jaxpr(functools.partial(_compute, **params))(*args).out_avals[0]


def _batch(args: Any, dims: Any, *, maps: Any, **params: Any) -> Any:
    return _bits_p.bind(*alike(*args), maps=(*maps, tuple(dims)), **params), 0


_bits_p = Primitive("dropout_bits")
_bits_p.def_impl(jax.jit(_compute, static_argnames=("block", "sharding", "maps")))
_bits_p.def_abstract_eval(_type)
batching.primitive_batchers[_bits_p] = _batch
mlir.register_lowering(_bits_p, mlir.lower_fun(_compute, multiple_results=False), inline=False)
