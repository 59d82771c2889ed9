"""Attention and its gradients for q, k, v and bias, against float64 at rates 0, .1, .5 and 1."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop import dot_product_attention
from tests.attention.cases import BIAS, KEY, KEYS, MASK, RULES, WAYS, Q, V, normal, ours
from tests.attention.truth import gradients, truth

ARRAYS = Q, KEYS, V, BIAS
RATES = 0.0, 0.1, 0.5, 1.0
CT = normal(9, *Q.shape)
ALL = 0, 1, 2, 3


def assert_it_is_the_truth(
    arrays: Any, ct: jax.Array, mask: Any = None, *, on: str, way: dict[str, Any],
    rates: tuple[float, ...] = RATES, compiled: bool = True, **rules: Any,
) -> None:  # fmt: skip
    @jax.jit
    def forward_and_back(rate: Any, *arrays: Any) -> Any:
        y, back = jax.vjp(lambda *a: ours(*a, mask, rate=rate, on=on, **rules, **way), *arrays)
        return y, back(ct)

    inputs = *arrays, mask
    for rate in rates:
        given = {"rate": float(np.float32(rate)), "key": KEY, "on": on, **rules}
        with jax.disable_jit(not compiled):
            y, found = forward_and_back(jnp.float32(rate), *arrays)
        np.testing.assert_allclose(y, truth(*inputs, **given), rtol=0, atol=5e-6)
        assert_close(found, gradients(ct, *inputs, **given))


def assert_close(found: Any, expected: Any) -> None:
    """In float32: sums of about a hundred numbers of about 1, divided by 1 - rate."""
    for name, a, b in zip(("q", "k", "v", "bias"), found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("way", ["reference", "tiles"])
def test_outputs_and_gradients_are_those_of_the_definition(way: str, rules: str) -> None:
    assert_it_is_the_truth(ARRAYS, CT, MASK, on="weights", way=WAYS[way], **RULES[rules])


@pytest.mark.slow
@pytest.mark.parametrize("on", ["weights", "keys"])
@pytest.mark.parametrize("way", ["reference", "columns", "rows"])
def test_all_rules_at_once(way: str, on: str) -> None:
    rules = RULES["padded"] | RULES["causal window"]
    assert_it_is_the_truth(ARRAYS, CT, MASK, on=on, way=WAYS[way], **rules)


@pytest.mark.slow
@hypothesis.settings(max_examples=8)
@hypothesis.given(st.data())
def test_any_shape_blocks_and_rules(data: Any) -> None:
    draw = data.draw
    b, t, s = draw(st.integers(1, 2)), draw(st.integers(1, 20)), draw(st.integers(1, 20))
    heads, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    whole = b, heads * groups, t, s
    shared = draw(st.sets(st.integers(0, 3)))
    shape = [1 if i in shared else n for i, n in enumerate(whole)]
    q, bias, ct = normal(5, b, t, whole[1], 4), normal(8, *shape), normal(9, b, t, whole[1], 4)
    k, v = normal(6, b, s, heads, 4), normal(7, b, s, heads, 4)

    def lengths(most: int) -> Any:
        some = st.lists(st.integers(0, most), min_size=b, max_size=b)
        drawn = draw(st.none() | some)
        return None if drawn is None else jnp.array(drawn)

    sides = st.integers(0, 9)
    assert_it_is_the_truth(
        (q, k, v, bias),
        ct,
        on=draw(st.sampled_from(["weights", "keys"])),
        way={name: draw(st.integers(1, 25)) for name in ("block_q", "block_kv")},
        is_causal=draw(st.booleans()),
        window=draw(st.none() | st.tuples(sides, sides)),
        query_lengths=lengths(t),
        key_lengths=lengths(s),
        broadcast_dims=draw(st.sampled_from([(), (0, 1), (2,), (3,)])),
    )


@pytest.mark.slow
def test_without_jit() -> None:
    small = Q[:1, :3], KEYS[:1, :5], V[:1, :5], BIAS[:, :, :3, :5]
    assert_it_is_the_truth(
        small, CT[:1, :3], on="weights", way={"block_q": 2, "block_kv": 3}, rates=(0.5,),
        compiled=False, is_causal=True, window=(1, 0),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("way", ["reference", "tiles"])
def test_jvp_is_the_product_with_the_gradient(way: str) -> None:
    tangents = tuple(normal(20 + i, *a.shape) for i, a in enumerate(ARRAYS))

    @jax.jit
    def slope(*tangents: Any) -> Any:
        def loss(*arrays: Any) -> Any:
            return jnp.vdot(CT, ours(*arrays, MASK, rate=0.5, is_causal=True, **WAYS[way]))

        return jax.jvp(loss, ARRAYS, tangents)[1]

    found = gradients(CT, *ARRAYS, mask=MASK, rate=0.5, key=KEY, is_causal=True)
    products = [np.vdot(g, w) for g, w in zip(found, tangents, strict=True)]
    largest = max(map(abs, products))
    np.testing.assert_allclose(slope(*tangents), sum(products), rtol=0, atol=1e-5 * largest)


@pytest.mark.slow
def test_vmap_over_everything_that_is_an_array() -> None:
    """Arrays, cotangents, masks, lengths, random keys and rates, each with its own gradient."""
    count = len(RATES)
    arrays = [jnp.stack([normal(30 + i, *a.shape) for i in range(count)]) for a in ARRAYS]
    masks = jax.random.bernoulli(jax.random.key(40), 0.8, (count, *MASK.shape))
    lengths = jnp.array([[27, 3], [0, 27], [9, 16], [5, 5]])
    keys, rates = jax.random.split(jax.random.key(41), count), jnp.array(RATES)

    @jax.jit
    @jax.vmap
    def back(arrays: Any, mask: Any, lengths: Any, key: Any, rate: Any) -> Any:
        def loss(q: Any, k: Any, v: Any, bias: Any) -> Any:
            y = dot_product_attention(
                q, k, v, bias, mask, dropout_rate=rate, dropout_key=key, is_causal=True,
                key_value_seq_lengths=lengths, block_q=8, block_kv=16,
            )  # fmt: skip
            return jnp.vdot(CT, y)

        return jax.grad(loss, argnums=ALL)(*arrays)

    found = back(arrays, masks, lengths, keys, rates)
    for i, rate in enumerate(RATES):
        expected = gradients(
            CT, *(a[i] for a in (*arrays, masks)), rate=float(np.float32(rate)), key=keys[i],
            is_causal=True, key_lengths=lengths[i],
        )  # fmt: skip
        assert_close([g[i] for g in found], expected)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["reference", "tiles"])
def test_scan_over_layers_that_are_checkpointed(way: str) -> None:
    """The key of a layer is that of the step, folded with the layer's number."""
    layers = 3

    @jax.jit
    def back(*arrays: Any) -> Any:
        @jax.checkpoint
        def layer(arrays: Any, number: Any) -> Any:
            key = jax.random.fold_in(KEY, number)
            y = dot_product_attention(*arrays, dropout_rate=0.5, dropout_key=key, **WAYS[way])
            return jnp.vdot(CT, y)

        def loss(*arrays: Any) -> Any:
            def step(total: Any, number: Any) -> Any:
                return total + layer(arrays, number), None

            return jax.lax.scan(step, jnp.float32(0), jnp.arange(layers))[0]

        return jax.grad(loss, argnums=ALL)(*arrays)

    expected = [
        gradients(CT, *ARRAYS, rate=0.5, key=jax.random.fold_in(KEY, number))
        for number in range(layers)
    ]
    assert_close(back(*ARRAYS), [sum(layer) for layer in zip(*expected, strict=True)])


@pytest.mark.parametrize("on", ["weights", "keys"])
def test_the_truth_s_gradient_is_the_change_of_its_value(on: str) -> None:
    arrays = [np.asarray(a, np.float64) for a in ARRAYS]
    options: Any = {"rate": 0.3, "key": KEY, "on": on, **RULES["causal window"]}
    rng, step = np.random.default_rng(1), 1e-6
    ways = [rng.normal(size=a.shape) for a in arrays]
    moves = list(zip(arrays, ways, strict=True))
    ahead, behind = (
        float(np.vdot(CT, truth(*(a + s * w for a, w in moves), **options))) for s in (step, -step)
    )
    found = gradients(CT, *arrays, **options)
    slope = sum(float(np.vdot(g, w)) for g, w in zip(found, ways, strict=True))
    # The third derivative times step^2, and rounding of 1e-16 over step.
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-7)


def test_another_mask_s_gradient_is_far_away() -> None:
    """The tolerance above would notice one."""
    found, other = (gradients(CT, *ARRAYS, rate=0.1, key=jax.random.key(i)) for i in (7, 8))
    for a, b in zip(found, other, strict=True):
        assert np.abs(a - b).max() > 0.1
