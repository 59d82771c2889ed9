"""weight_drop: the recurrent matrices of Flax cells, and nothing else."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop

KEY = jax.random.key(2018)
X = jnp.ones((2, 4, 3))


def changed(before, after):
    """The paths of the parameters that differ."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    return {
        jax.tree_util.keystr(p, simple=True, separator="/") for (p, a), b in pairs if (a != b).any()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (nn.LSTMCell(8), {"hi", "hf", "hg", "ho"}),
        (nn.OptimizedLSTMCell(8), {"hi", "hf", "hg", "ho"}),
        (nn.GRUCell(8), {"hr", "hz", "hn"}),
        (nn.MGUCell(8), {"hf", "hn"}),
        (nn.SimpleCell(8), {"h"}),
    ],
)
def test_linen_cells_lose_recurrent_weights_only(cell, names):
    params = nn.RNN(cell).init(jax.random.key(0), X)["params"]
    dropped = jaxdrop.weight_drop(KEY, params, 0.5)
    assert changed(params, dropped) == {f"cell/{name}/kernel" for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell])
def test_nnx_cells_lose_recurrent_weights_only(kind):
    rnn = nnx.RNN(kind(3, 8, rngs=nnx.Rngs(0)), rngs=False)
    _, params, *_ = nnx.split(rnn, nnx.Param, ...)
    before = nnx.to_pure_dict(params)
    after = nnx.to_pure_dict(jaxdrop.weight_drop(KEY, params, 0.5))
    paths = changed(before, after)
    layers = {"hi", "hf", "hg", "ho"} if kind is nnx.LSTMCell else {"dense_h"}
    assert paths == {f"cell/{name}/kernel" for name in layers}


def test_each_matrix_is_dropped_on_its_own_whatever_else_is_there():
    tree = {
        "a": {"hi": {"kernel": jnp.ones((16, 16))}},
        "b": {"hi": {"kernel": jnp.ones((16, 16))}},
    }
    both = jaxdrop.weight_drop(KEY, tree, 0.5)
    alone = jaxdrop.weight_drop(KEY, {"b": tree["b"]}, 0.5)
    np.testing.assert_array_equal(both["b"]["hi"]["kernel"], alone["b"]["hi"]["kernel"])
    masks = [both[name]["hi"]["kernel"] > 0 for name in "ab"]
    jaxdrop.testing.assert_independent_masks(*masks)


def test_an_array_alone_is_dropout():
    w = jnp.ones((6, 6))
    np.testing.assert_array_equal(jaxdrop.weight_drop(KEY, w, 0.5), jaxdrop.dropout(KEY, w, 0.5))


def test_where_chooses_and_gradients_pass_the_mask():
    tree = {"input": jnp.ones((4, 4)), "loop": jnp.ones((4, 4))}

    def loss(tree):
        dropped = jaxdrop.weight_drop(KEY, tree, 0.5, where=lambda path: path == ("loop",))
        return sum(leaf.sum() for leaf in jax.tree.leaves(dropped))

    dropped = jaxdrop.weight_drop(KEY, tree, 0.5, where=lambda path: path == ("loop",))
    gradient = jax.grad(loss)(tree)
    np.testing.assert_array_equal(gradient["loop"], dropped["loop"])
    np.testing.assert_array_equal(gradient["input"], jnp.ones((4, 4)))


def test_nothing_to_draw_returns_the_tree():
    tree = {"hi": {"kernel": jnp.ones((2, 2))}}
    assert jaxdrop.weight_drop(None, tree, 0.0) is tree
    assert jaxdrop.weight_drop(None, tree, 0.5, deterministic=True) is tree


def test_no_recurrent_kernel_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="no recurrent kernel.*parameters are dense/kernel"):
        jaxdrop.weight_drop(KEY, {"dense": {"kernel": jnp.ones((2, 2))}}, 0.5)
