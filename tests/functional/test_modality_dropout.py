"""modality_dropout and expert_dropout: the law of independent decisions, given that one is kept."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

EXAMPLES = 20_000
FALSE_ALARM = 1e-8  # of each comparison
RATES = np.array([0.2, 0.5, 0.9])


def check_law(kept: np.ndarray, rates: Any, keep_one: bool = True) -> None:
    """Each set of kept things occurs as often as independent decisions say, given what they are."""
    n = kept.shape[1]
    rates = np.broadcast_to(np.asarray(rates, np.float64), n)
    of_sets = {s: np.where(s, 1 - rates, rates).prod() for s in itertools.product((0, 1), repeat=n)}
    whole = 1 - of_sets[(0,) * n] if keep_one else 1.0
    names, counts = np.unique(kept.astype(int), axis=0, return_counts=True)
    found = dict(zip(map(tuple, names.tolist()), counts.tolist(), strict=True))
    for s, probability in of_sets.items():
        p = 0.0 if keep_one and not any(s) else probability / whole
        tail = FALSE_ALARM / 2
        low, high = scipy.stats.binom.ppf([tail, 1 - tail], len(kept), p)
        assert low <= found.get(s, 0) <= high, f"{s}: {found.get(s, 0)} not in [{low}, {high}]"


def modalities(key: Any, rate: Any, **options: Any) -> np.ndarray:
    ones = [jnp.ones(EXAMPLES)] * 3
    return np.stack(jaxdrop.modality_dropout(key, ones, rate, **options), axis=1)


@pytest.mark.slow
def test_the_law_is_that_of_independent_decisions_given_that_one_is_kept() -> None:
    for seed, rate in enumerate((RATES, 0.4, 0.999)):
        check_law(modalities(jax.random.key(seed), rate), rate)
    x = jnp.ones(EXAMPLES)
    traced = jax.jit(lambda rate: jaxdrop.modality_dropout(jax.random.key(0), [x] * 3, rate))
    np.testing.assert_array_equal(
        np.stack(traced(RATES), axis=1), modalities(jax.random.key(0), RATES)
    )
    gates = jnp.full((EXAMPLES, 3), 1 / 3)
    y = jaxdrop.expert_dropout(jax.random.key(7), gates, RATES, per_example=True)
    check_law(np.asarray(y > 0), RATES)
    free = modalities(jax.random.key(4), RATES, keep_one=False)
    check_law(free, RATES, keep_one=False)
    with pytest.raises(AssertionError, match="not in"):
        check_law(free, RATES)
    none = ~free.any(axis=1)
    mended = free.astype(bool)
    mended[none, 0] = True  # always the first
    with pytest.raises(AssertionError, match="not in"):
        check_law(mended, RATES)


def test_at_rate_one_exactly_one_is_kept_each_as_often() -> None:
    kept = modalities(jax.random.key(5), 1.0)
    assert (kept.sum(axis=1) == 1).all()
    low, high = scipy.stats.binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], EXAMPLES, 1 / 3)
    assert (low <= kept.sum(axis=0)).all() and (kept.sum(axis=0) <= high).all()
    assert not modalities(None, 1.0, keep_one=False).any()
    one = jaxdrop.modality_dropout(jax.random.key(6), [jnp.ones(64)], 0.9)
    assert one[0].all()  # the only one


def test_an_example_keeps_or_loses_the_whole_of_an_input() -> None:
    inputs = {"image": jnp.full((8, 2, 3), jnp.nan), "words": jnp.arange(1, 33).reshape(8, 4)}
    y = jaxdrop.modality_dropout(jax.random.key(3), inputs, 0.5)
    image, words = np.isnan(y["image"]), np.asarray(y["words"])
    gone = ~image[:, 0, 0], words[:, 0] == 0
    assert (image == ~gone[0][:, None, None]).all() and not (gone[0] & gone[1]).any()
    np.testing.assert_array_equal(words, np.where(gone[1][:, None], 0, inputs["words"]))
    assert gone[0].any() and gone[1].any() and y["words"].dtype == jnp.int32
    same = jaxdrop.modality_dropout(None, inputs, 0.5, deterministic=True)
    assert same["words"] is inputs["words"]


def test_gates_of_kept_experts_sum_to_what_all_did() -> None:
    gates: Any = jax.nn.softmax(jnp.sin(jnp.arange(40.0)).reshape(8, 5))

    @jax.jit
    def apply(gates: Any) -> Any:
        one = jaxdrop.expert_dropout(jax.random.key(2), gates, 0.5)
        each = jaxdrop.expert_dropout(jax.random.key(3), gates, 0.5, per_example=True)
        return (
            one,
            each,
            jax.grad(lambda g: jaxdrop.expert_dropout(jax.random.key(2), g, 0.5)[0, -1])(gates),
        )

    one, each, slope = map(np.asarray, apply(gates))
    for y in (one, each):
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
        kept = y > 0
        left = np.asarray(gates) * kept
        want = left / left.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(y, want, rtol=1e-6)
    kept = one > 0
    assert (kept == kept[:1]).all() and 0 < kept[0].sum() < 5
    assert not ((each > 0) == (each[:1] > 0)).all() and np.isfinite(slope).all()
    sparse = jnp.where(kept, 0.0, gates)  # all that these chose is dropped
    np.testing.assert_array_equal(jaxdrop.expert_dropout(jax.random.key(2), sparse, 0.5), 0 * gates)


def test_layers_give_the_functions_bits_and_are_off_in_eval() -> None:
    inputs, key = {"a": jnp.ones(16), "b": jnp.ones((16, 2))}, jax.random.key(8)
    gates = jnp.full((16, 4), 0.25)
    function: Any
    for name, function, x, options in (
        ("ModalityDropout", jaxdrop.modality_dropout, inputs, {"keep_one": False}),
        ("ExpertDropout", jaxdrop.expert_dropout, gates, {"per_example": True}),
    ):
        want: Any = function(key, x, 0.5, **options)
        linen = getattr(jaxdrop.linen, name)(0.5, deterministic=False, **options)
        layer = getattr(jaxdrop.nnx, name)(0.5, rngs=nnx.Rngs(0), **options)
        jax.tree.map(np.testing.assert_array_equal, linen.apply({}, x, rng=key), want)
        jax.tree.map(np.testing.assert_array_equal, layer(x, rngs=key), want)
        a, b = (jax.tree.leaves(layer(x))[0] for _ in range(2))
        assert (a != b).any()
        layer.eval()
        jax.tree.map(np.testing.assert_array_equal, layer(x), x)


def test_shards_of_the_examples_draw_their_part_with_one_key() -> None:
    x, gates = jnp.arange(1.0, 9.0), jnp.full((8, 4), 0.25)
    mesh = jax.make_mesh(
        (2,), ("a",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2]
    )
    spec = jax.sharding.PartitionSpec("a")

    def draw(x: Any, gates: Any) -> Any:
        rates: dict[Any, Any] = {"a": 0.3, ("a", "b"): 0.3}
        nulls, keys = {"a": 0.0, "b": 0.0}, jax.random.split(jax.random.key(9), 4)
        return (
            jaxdrop.modality_dropout(keys[0], [x, x], 0.5, mesh_axes=("a",)),
            jaxdrop.expert_dropout(keys[1], gates, 0.5, per_example=True, mesh_axes=("a",)),
            jaxdrop.expert_dropout(keys[2], gates, 0.5, mesh_axes=("a",)),
            jaxdrop.joint_condition_dropout(
                keys[3], {"a": x, "b": x}, rates, nulls=nulls, mesh_axes=("a",)
            ),
        )

    def by_experts(gates: Any) -> Any:
        return jaxdrop.expert_dropout(jax.random.key(9), gates, 0.5, mesh_axes=(None, "a"))

    with jax.set_mesh(mesh):
        got = jax.jit(jax.shard_map(draw, in_specs=spec, out_specs=spec))(x, gates)
        split = jax.sharding.PartitionSpec(None, "a")
        with pytest.raises(ValueError, match=r"by which \('a',\) splits the experts"):
            jax.shard_map(by_experts, in_specs=split, out_specs=split)(gates)
    jax.tree.map(np.testing.assert_array_equal, got, draw(x, gates))


def test_wrong_use_is_told_in_a_sentence() -> None:
    key = jax.random.key(0)
    x: Any = jnp.ones((4, 3))
    with pytest.raises(TypeError, match=r"^got one array of shape \(4, 3\), expected a dict or"):
        jaxdrop.modality_dropout(key, x, 0.5)
    with pytest.raises(ValueError, match="^got modalities of shapes .* the same number"):
        jaxdrop.modality_dropout(key, [x, x[:2]], 0.5)
    with pytest.raises(ValueError, match=r"rate of shape \(3,\), .* one for each of 2 modalities"):
        jaxdrop.modality_dropout(key, [x, x], RATES)
    with pytest.raises(ValueError, match=r"^got gates of shape \(\); expert_dropout takes"):
        jaxdrop.expert_dropout(key, jnp.ones(()), 0.5)
