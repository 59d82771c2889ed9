"""Every public function in chex's variants: with and without jit, arrays on and off device, pmap.

They all make one program, so that a variant compiles once. A new function falls in by its record,
or by its call in ``tests/public_calls.py``.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from scripts.members import TwoPoint
from tests.functional.over_members import close
from tests.public_calls import calls, members

# Layers, and what gives a function or a verdict, or works on the host.
OTHERS = (
    *("linen.", "nnx.", "jaxdrop.testing.", "jaxdrop.training.", "jaxdrop.surgery."),
    *("jaxdrop.drop_path_rates", "jaxdrop.max_norm", "jaxdrop.recurrent", "jaxdrop.mc.auroc"),
    *("jaxdrop.mc.sampler", "jaxdrop.variational.sparsity", "jaxdrop.layer_skip_rates"),
    *("jaxdrop.default_mesh_axes", "jaxdrop.mc.fit_temperature", "jaxdrop.mc.ensemble"),
    *("jaxdrop.mc.risk_coverage", "jaxdrop.mc.aurc", "jaxdrop.mc.draw_reliability"),
    "jaxdrop.ring_attention",  # takes the name of an axis, and pmap has another
)
CALLS = {name: call for name, call in calls() if not name.startswith(OTHERS)}
EXACT = {m.id for m in members if isinstance(m.law, TwoPoint) and "alpha" not in m.name}
"""What chooses between elements that are rounded once at most; so does what returns no floats."""
Arrays = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def one_key_for_all() -> Iterator[None]:
    jax.config.update("jax_debug_key_reuse", False)
    yield
    jax.config.update("jax_debug_key_reuse", True)


def arrays() -> Arrays:
    """Return the arguments of each call that are arrays, which a variant may trace."""

    def is_array(tree: Any) -> bool:
        leaves = jax.tree.leaves(tree)
        return bool(leaves) and all(isinstance(leaf, (jax.Array, np.ndarray)) for leaf in leaves)

    return {
        name: {argument: v for argument, v in call.valid.items() if is_array(v)}
        for name, call in CALLS.items()
    }


def everything(given: Arrays) -> dict[str, Any]:
    return {
        name: jax.tree.leaves(call.run(**{**call.valid, **given[name]}))
        for name, call in CALLS.items()
    }


expected = functools.cache(lambda: everything(arrays()))


def compare(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    chex.assert_trees_all_equal_structs(actual, expected)
    for name, leaves in actual.items():
        for y, z in zip(leaves, expected[name], strict=True):
            if name in EXACT or not jnp.issubdtype(jnp.result_type(y), jnp.floating):
                chex.assert_trees_all_equal_shapes_and_dtypes(y, z)
                chex.assert_trees_all_equal(y, z, custom_message=name)
            else:  # its last digit may differ between programs
                close(np.float32(y), np.float32(z))


@pytest.mark.slow
class VariantsTest(chex.TestCase):
    variant: Callable[..., Any]

    @chex.all_variants(with_pmap=hasattr(jax, "pmap"))
    def test_every_public_function_gives_the_same(self) -> None:
        compare(self.variant(everything, n_devices=2)(arrays()), expected())


def test_most_are_compared_to_the_bit() -> None:
    assert len(CALLS) > 40 and EXACT <= CALLS.keys() and len(EXACT) >= 10


def test_a_mask_that_depends_on_how_it_is_called_is_found() -> None:
    def broken(key: Any, x: Any) -> jax.Array:
        return jaxdrop.dropout(key, x, 0.5, index_offset=(int(isinstance(x, jax.core.Tracer)),))

    key, x = jax.random.key(0), jnp.ones((4, 8))
    for name in ("dropout", "gaussian_dropout"):
        compare({name: [broken(key, x)]}, {name: [broken(key, x)]})
        with pytest.raises(AssertionError):
            compare({name: [jax.jit(broken)(key, x)]}, {name: [broken(key, x)]})
