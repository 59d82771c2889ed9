"""The index: any block of any array, past 2**32 elements too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxdrop
from jaxdrop import _index

KEY = jax.random.key(9)


def numbers(shape, offset=(), whole=None):
    """The index as numpy counts it, from the limbs."""
    block, base = _index.locate(shape, offset, whole)
    low = np.asarray(_index.weyl_index(block, base, 1)).astype(object)
    high = _index.high_index(block, base)
    return low if high is None else low + np.asarray(high).astype(object) * 2**32


@st.composite
def blocks(draw):
    big = st.one_of(st.integers(1, 6), st.integers(1, 2**20), st.integers(2**31, 2**32))
    whole = tuple(draw(st.lists(big, min_size=1, max_size=4)))
    shape = tuple(draw(st.integers(1, min(n, 4))) for n in whole)
    offset = tuple(draw(st.integers(0, n - m)) for n, m in zip(whole, shape, strict=True))
    return whole, shape, offset


@given(blocks(), st.booleans())
def test_every_block_knows_its_indices(block, traced):
    whole, shape, offset = block
    strides = [int(np.prod(np.array(whole[d + 1 :], object))) for d in range(len(whole))]
    expected = np.zeros(shape, object)
    for d, stride in enumerate(strides):
        along = np.array([offset[d] + i for i in range(shape[d])], object) * stride
        expected = expected + along.reshape([-1 if e == d else 1 for e in range(len(shape))])
    given_offset = tuple(jnp.uint32(o) if o < 2**32 else o for o in offset) if traced else offset
    got = numbers(shape, given_offset, whole)
    assert (got % 2**64 == expected % 2**64).all()


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


def test_dropout_of_a_block_is_the_block_of_dropout():
    x = jnp.arange(1.0, 8 * 6 + 1).reshape(8, 6)
    whole = jaxdrop.dropout(KEY, x, 0.4)
    for rows, columns in ((slice(2, 5), slice(1, 4)), (slice(0, 8), slice(5, 6))):
        start = (rows.start, columns.start)
        block = jaxdrop.dropout(KEY, x[rows, columns], 0.4, index_offset=start, global_shape=(8, 6))
        np.testing.assert_array_equal(block, whole[rows, columns])
    np.testing.assert_array_equal(jaxdrop.dropout(KEY, x[3:5], 0.4, index_offset=(3,)), whole[3:5])


@pytest.mark.parametrize("dims", [(0,), (1,), (0, 1)])
def test_a_block_of_a_shared_mask(dims):
    whole = jaxdrop.keep_mask(KEY, (8, 6), 0.4, broadcast_dims=dims)
    block = jaxdrop.keep_mask(
        KEY, (3, 2), 0.4, broadcast_dims=dims, index_offset=(4, 1), global_shape=(8, 6)
    )
    np.testing.assert_array_equal(block, whole[4:7, 1:3])
