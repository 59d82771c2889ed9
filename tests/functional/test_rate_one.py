"""At rate 1 the result is known, so no member and no layer asks for a key there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from tests.functional.over_members import key, over

ONES = [1, 1.0, 1 + 1e-13, np.float32(1), np.float64(1)]


@pytest.mark.slow
@over(rated=True)
def test_no_key_is_needed_at_rate_one(member: Any) -> None:
    x = member.example()
    if member.rate_one is None:  # which draws there, too, as its docstring says
        with pytest.raises(ValueError, match=f"^{member.name} needs a random key and got None"):
            member.apply(None, x, 1.0)
        return
    want = member.apply(key(), x, jnp.float32(1))  # known on the device only, so it is drawn
    for one in ONES:
        got = member.apply(None, x, one)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@over(rated=True, traced_mode=True)
def test_a_key_is_needed_at_rate_one_where_the_mode_is_traced(member: Any) -> None:
    x = member.example()
    with pytest.raises(ValueError, match="needs a random key and got None"):
        jax.jit(lambda test: member.apply(None, x, 1.0, deterministic=test))(False)


@over(rated=True)
def test_a_half_needs_a_key(member: Any) -> None:
    with pytest.raises(ValueError, match="needs a random key and got None"):
        member.apply(None, member.example(), 0.5)


def test_masks_trees_and_cells_need_no_key_either() -> None:
    for rate in (0.0, 1.0):
        mask = jaxdrop.keep_mask(None, (2, 3), rate)
        np.testing.assert_array_equal(mask, jnp.full((2, 3), rate == 0.0))
    tree = {"cell": {"hf": {"kernel": jnp.ones((2, 2))}, "if": {"kernel": jnp.ones((2, 2))}}}
    dropped = jaxdrop.weight_drop(None, tree, 1.0)["cell"]
    assert (dropped["hf"]["kernel"] == 0).all() and (dropped["if"]["kernel"] == 1).all()
    cell = jaxdrop.recurrent_cell(None, lambda h, x: (h + x, x), 1.0, input_rate=1.0)
    h, y = cell(jnp.ones(3), jnp.ones(3))
    assert (h == 0).all() and (y == 0).all()
    for rates in ((1.0, 0.5), (0.5, 1.0), (0.0, 0.5)):
        with pytest.raises(ValueError, match="^recurrent_cell needs a random key and got None"):
            jaxdrop.recurrent_cell(None, cell, rates[0], input_rate=rates[1])
