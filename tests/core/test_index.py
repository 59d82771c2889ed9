"""The index: any block of any array, past 2**32 elements too."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxdrop
from jaxdrop._core import index

KEY = jax.random.key(9)


def numbers(shape, offset=(), whole=None):
    """The index as numpy counts it, from the limbs."""
    block, base = index.block_layout(shape, offset, whole)
    low = np.asarray(index.weyl_index(block, base, 1)).astype(object)
    high = index.high_index(block, base)
    return low if high is None else low + np.asarray(high).astype(object) * 2**32


@st.composite
def blocks(draw):
    big = st.one_of(st.integers(1, 6), st.integers(1, 2**20), st.integers(2**31, 2**32))
    whole = draw(st.lists(big, min_size=1, max_size=4))
    while math.prod(whole) > 2**64:
        whole.pop()
    shape = tuple(draw(st.integers(1, min(n, 4))) for n in whole)
    offset = tuple(draw(st.integers(0, n - m)) for n, m in zip(whole, shape, strict=True))
    return tuple(whole), shape, offset


KINDS: dict[str, Callable[[int], Any]] = {
    "Python": int,
    "NumPy": lambda o: np.uint64(o),
    "an array of NumPy": lambda o: np.array(o, np.int64),
    "JAX": lambda o: jnp.uint32(o) if o < 2**32 else o,
}


@pytest.mark.slow
@given(blocks(), st.sampled_from(list(KINDS)))
def test_every_block_knows_its_indices(block, kind):
    whole, shape, offset = block
    strides = [math.prod(whole[d + 1 :]) for d in range(len(whole))]
    expected = np.zeros(shape, object)
    for d, stride in enumerate(strides):
        along = np.array([offset[d] + i for i in range(shape[d])], object) * stride
        expected = expected + along.reshape([-1 if e == d else 1 for e in range(len(shape))])
    got = numbers(shape, tuple(map(KINDS[kind], offset)), whole)
    assert (got == expected).all()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint32", "int64", "uint64"])
def test_traced_offsets_are_exact_whatever_their_dtype(dtype, x64):
    top = min(2**48, int(np.iinfo(dtype).max) - 3)
    columns = 1000
    place = jax.jit(lambda row: index.block_layout((2, columns), (row,), None)[1])
    for row in (0, 1, top // 3, top):
        low, high = place(np.asarray(row, dtype))
        assert int(low) + int(high) * 2**32 == row * columns


FAR = 2**33 + 5


@pytest.mark.parametrize(
    "offset",
    [np.int64(FAR), np.uint64(FAR), np.array(FAR), np.array(FAR, np.uint64)],
    ids=lambda o: f"{type(o).__name__}-{o.dtype}",
)
def test_no_offset_of_numpy_wraps(offset):
    expected = jaxdrop.random_bits(KEY, (4,), index_offset=(FAR,))
    np.testing.assert_array_equal(jaxdrop.random_bits(KEY, (4,), index_offset=(offset,)), expected)


@pytest.mark.slow
def test_no_offset_of_64_bits_wraps(x64):
    expected = jaxdrop.random_bits(KEY, (4,), index_offset=(FAR,))
    traced = jax.jit(lambda o: jaxdrop.random_bits(KEY, (4,), index_offset=(o,)))
    for offset in (jnp.int64(FAR), jnp.uint64(FAR)):
        concrete = jaxdrop.random_bits(KEY, (4,), index_offset=(offset,))
        np.testing.assert_array_equal(concrete, expected)
        np.testing.assert_array_equal(traced(offset), expected)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 64), {"index_offset": (2**58,)}),
        ((2**33, 2**32), {}),
        ((1, 1), {"index_offset": (0, 0), "global_shape": (2**40, 2**40)}),
    ],
)
def test_more_than_2_to_the_64_elements_are_refused(shape, options):
    with pytest.raises(ValueError, match=r"elements, expected 2\*\*64 at most"):
        jaxdrop.keep_mask(KEY, shape, 0.5, **options)
    last = jaxdrop.random_bits(KEY, (1, 64), index_offset=(2**58 - 1,))  # the last that there is
    assert last.shape == (1, 64)


@pytest.mark.parametrize("offset", [jnp.int32(-1), jnp.int32(3), np.array(-1), np.array(3)])
def test_a_known_array_as_offset_is_checked_as_a_number_is(offset):
    said = r"got index_offset\[0\] = (-1|3), expected 0 <= offset <= 2"
    with pytest.raises(ValueError, match=said):
        jaxdrop.dropout(KEY, jnp.ones((2, 3)), 0.5, index_offset=(offset,), global_shape=(4, 3))


@pytest.mark.parametrize("offset", [True, np.True_, 1.0, 1j, "1", None, np.array(1.0), b"1"])
def test_only_integers_are_offsets(offset):
    for call in (
        lambda: jaxdrop.random_bits(KEY, (2,), index_offset=(offset,)),
        lambda: jaxdrop.dropout(KEY, jnp.ones(2), 0.5, index_offset=(offset,)),
        lambda: jaxdrop.drop_connect_dense(
            KEY,
            jnp.ones((2, 2)),
            0.5,
            kernel=jnp.ones((2, 2)),
            per_example=True,
            index_offset=(offset,),
        ),
    ):
        with pytest.raises(TypeError, match=r"got index_offset\[0\]=.*, expected one integer"):
            call()


@pytest.mark.slow
def test_examples_beyond_2_to_the_32_have_masks_of_their_own():
    """In drop_connect_dense the masked kernels of all examples are one array."""
    x, kernel = jnp.eye(3)[None], jnp.ones((3, 4))
    first = 2**33 + 7

    @jax.jit
    def weights(x):
        return jaxdrop.drop_connect_dense(
            KEY, x, 0.5, kernel=kernel, per_example=True, index_offset=(first,)
        )

    mask = jaxdrop.keep_mask(
        KEY, (1, 3, 4), 0.5, index_offset=(first, 0, 0), global_shape=(2**40, 3, 4)
    )
    np.testing.assert_array_equal(weights(x[:, :1]), jnp.where(mask[:, :1], 2.0, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("where", [0, 2**32 - 3, 2**33 - 3, 3 * 2**32 + 12345])
def test_an_array_beyond_2_to_the_32_is_one_stream(where):
    n = 2**34
    expected = jaxdrop.random_bits(KEY, (6,), index_offset=(where,))
    giant = jax.jit(lambda: jaxdrop.random_bits(KEY, (n,))[where : where + 6])()
    np.testing.assert_array_equal(giant, expected)
    columns = 2**13
    row, column = divmod(where, columns)
    matrix = jax.jit(lambda: jaxdrop.random_bits(KEY, (n // columns, columns))[row : row + 2])()
    np.testing.assert_array_equal(matrix.reshape(-1)[column : column + 6], expected)
    by_row = jaxdrop.random_bits(KEY, (2, columns), index_offset=(jnp.uint32(row),))
    np.testing.assert_array_equal(by_row, matrix)


def test_an_array_beyond_2_to_the_32_does_not_repeat():
    first = jaxdrop.random_bits(KEY, (4096,))
    for wrap in (1, 2, 3, 1 << 20):
        later = jaxdrop.random_bits(KEY, (4096,), index_offset=(wrap * 2**32,))
        # equal words are binomial with p = 2**-32: two or more among 4096 have probability 5e-13
        assert int((first == later).sum()) < 2


@pytest.mark.slow
def test_dropout_of_a_block_is_the_block_of_dropout():
    x = jnp.arange(1.0, 8 * 6 + 1).reshape(8, 6)
    whole = jaxdrop.dropout(KEY, x, 0.4)
    for rows, columns in ((slice(2, 5), slice(1, 4)), (slice(0, 8), slice(5, 6))):
        start = (rows.start, columns.start)
        block = jaxdrop.dropout(KEY, x[rows, columns], 0.4, index_offset=start, global_shape=(8, 6))
        np.testing.assert_array_equal(block, whole[rows, columns])
    np.testing.assert_array_equal(jaxdrop.dropout(KEY, x[3:5], 0.4, index_offset=(3,)), whole[3:5])


@pytest.mark.slow
@pytest.mark.parametrize("dims", [(0,), (1,), (0, 1)])
def test_a_block_of_a_shared_mask(dims):
    whole = jaxdrop.keep_mask(KEY, (8, 6), 0.4, broadcast_dims=dims)
    block = jaxdrop.keep_mask(
        KEY, (3, 2), 0.4, broadcast_dims=dims, index_offset=(4, 1), global_shape=(8, 6)
    )
    np.testing.assert_array_equal(block, whole[4:7, 1:3])
