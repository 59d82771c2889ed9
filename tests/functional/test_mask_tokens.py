"""mask_tokens: BERT's shares, spans with the same rate at every token, a rate per example."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxdrop

FALSE_ALARM = 1e-8  # of each comparison
MASK, VOCABULARY = 999, 50
BERT: dict[str, Any] = {"mask_share": 0.8, "random_share": 0.1, "vocab_size": VOCABULARY}


def inside(count: Any, of: int, rate: float, what: Any) -> None:
    count = np.asarray(count)
    tail = FALSE_ALARM / 2 / count.size
    low, high = scipy.stats.binom.ppf([tail, 1 - tail], of, rate)
    assert (low <= count).all() and (count <= high).all(), f"{what}: {count} not in [{low}, {high}]"


def check_shares(y: Any, tokens: Any, chosen: Any, rate: float) -> None:
    """What becomes of a token is multinomial; a random one is the token itself once in a while."""
    y, tokens, chosen = map(np.asarray, (y, tokens, chosen))
    n, same = tokens.size, 1 / VOCABULARY
    np.testing.assert_array_equal(y[~chosen], tokens[~chosen])
    inside(chosen.sum(), n, rate, "chosen")
    inside((y == MASK).sum(), n, 0.8 * rate, "masked")
    inside(((y != MASK) & (y != tokens)).sum(), n, 0.1 * rate * (1 - same), "random")
    inside((chosen & (y == tokens)).sum(), n, (0.1 + 0.1 * same) * rate, "unchanged")


def collated(tokens: np.ndarray, rate: float, then: float) -> tuple[np.ndarray, np.ndarray]:
    """The rule of a well-known collator: mask 0.8 of the chosen, swap ``then`` of the others."""
    rng = np.random.default_rng(0)
    chosen = rng.random(tokens.shape) < rate
    masked = chosen & (rng.random(tokens.shape) < 0.8)
    swapped = chosen & ~masked & (rng.random(tokens.shape) < then)
    words = rng.integers(0, VOCABULARY, tokens.shape)
    return np.where(masked, MASK, np.where(swapped, words, tokens)), chosen


def test_berts_shares_and_a_random_token_is_any() -> None:
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, VOCABULARY, (200, 200)), jnp.int32)
    y, chosen = jaxdrop.mask_tokens(jax.random.key(0), tokens, 0.15, mask_token=MASK, **BERT)
    check_shares(y, tokens, chosen, 0.15)
    check_shares(*_with(collated(np.asarray(tokens), 0.15, 0.5), tokens), 0.15)
    for broken in (
        collated(np.asarray(tokens), 0.15, 0.1),  # a tenth of the rest, not of the chosen
        collated(np.asarray(tokens), 0.2, 0.5),
    ):
        with pytest.raises(AssertionError, match="not in"):
            check_shares(*_with(broken, tokens), 0.15)
    all_random: dict[str, Any] = {"mask_share": 0.0, "random_share": 1.0, "vocab_size": VOCABULARY}
    y, _ = jaxdrop.mask_tokens(jax.random.key(1), tokens, 1.0, mask_token=MASK, **all_random)
    counts = np.bincount(np.ravel(y), minlength=VOCABULARY)
    assert len(counts) == VOCABULARY and scipy.stats.chisquare(counts).pvalue > FALSE_ALARM
    narrow = np.bincount(np.ravel(y) % (VOCABULARY - 1), minlength=VOCABULARY)
    assert scipy.stats.chisquare(narrow).pvalue < FALSE_ALARM


def _with(result: Any, tokens: Any) -> tuple[Any, Any, Any]:
    y, chosen = result
    return y, tokens, chosen


def check_every_position(chosen: np.ndarray, rate: float) -> None:
    inside(chosen.sum(axis=0), len(chosen), rate, "position")


def check_runs(chosen: np.ndarray, span: int) -> None:
    """A run that touches no border is a span long, at least."""
    for row in chosen:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        for begin, end in edges.reshape(-1, 2):
            assert end - begin >= span or begin == 0 or end == row.size, "a run shorter than a span"


def test_spans_choose_every_token_at_the_rate() -> None:
    tokens = jnp.zeros((5000, 12), jnp.int32)
    _, chosen = jaxdrop.mask_tokens(jax.random.key(2), tokens, 0.3, mask_token=1, span=3)
    whole = np.asarray(chosen)
    check_every_position(whole, 0.3)
    check_runs(whole[:500], 3)
    single = np.asarray(jaxdrop.mask_tokens(jax.random.key(2), tokens, 0.3, mask_token=1)[1])
    with pytest.raises(AssertionError, match="shorter"):
        check_runs(single[:500], 3)
    inner = whole.copy()  # no span begins before the first token
    inner[:, :2] &= np.random.default_rng(0).random((5000, 2)) < [1 / 3, 2 / 3]
    with pytest.raises(AssertionError, match="not in"):
        check_every_position(inner, 0.3)


def test_a_rate_per_example_traced_or_not_and_protected_tokens() -> None:
    tokens = jnp.tile(jnp.arange(100, dtype=jnp.int32), (4, 20))
    rates = jnp.array([0.0, 0.2, 0.7, 1.0])[:, None]

    @jax.jit
    def draw(rates: Any) -> Any:
        key = jax.random.key(3)
        options: dict[str, Any] = {"mask_token": MASK, "protected": (5, 6)}
        one = jaxdrop.mask_tokens(key, tokens, rates, **options)
        return one, jaxdrop.mask_tokens(jax.random.clone(key), tokens, rates, span=4, **options)

    special = np.isin(tokens, (5, 6))
    for y, chosen in draw(rates):
        assert not chosen[special].any() and not chosen[0].any() and chosen[3][~special[3]].all()
        np.testing.assert_array_equal(y, np.where(chosen, MASK, tokens))
    for row, rate in ((1, 0.2), (2, 0.7)):
        inside(draw(rates)[0][1][row].sum(), 2000 - 40, rate, "chosen")
    host = jaxdrop.mask_tokens(
        jax.random.key(3), tokens, np.asarray(rates), mask_token=MASK, protected=(5, 6)
    )
    jax.tree.map(np.testing.assert_array_equal, host, draw(rates)[0])
    longer = jaxdrop.mask_tokens(jax.random.key(3), tokens[:2], 0.2, mask_token=MASK, span=4)[0]
    shorter = jaxdrop.mask_tokens(jax.random.key(3), tokens[:1], 0.2, mask_token=MASK, span=4)[0]
    np.testing.assert_array_equal(longer[:1], shorter)
    y, chosen = jaxdrop.mask_tokens(None, tokens, 0.0, mask_token=MASK)
    assert y is tokens and not chosen.any()


def test_shards_draw_their_part_spans_over_the_seams_included() -> None:
    tokens = jnp.arange(64, dtype=jnp.int32).reshape(4, 16)
    mesh = jax.make_mesh(
        (2, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2, devices=jax.devices()[:4]
    )
    spec = jax.sharding.PartitionSpec("a", "b")

    def draw(tokens: Any) -> Any:
        key = jax.random.key(4)
        return jaxdrop.mask_tokens(
            key, tokens, 0.4, mask_token=MASK, span=3, mesh_axes=("a", "b"), **BERT
        )

    with jax.set_mesh(mesh):
        got = jax.jit(jax.shard_map(draw, in_specs=spec, out_specs=(spec, spec)))(tokens)
    jax.tree.map(np.testing.assert_array_equal, got, draw(tokens))


def test_wrong_use_is_told_in_a_sentence() -> None:
    key, tokens = jax.random.key(0), jnp.zeros((2, 5), jnp.uint8)
    call: Any
    for options, said in (
        ({"mask_token": 300}, "^got mask_token=300 for tokens of dtype uint8"),
        ({"mask_share": 0.8, "random_share": 0.4}, "^got mask_share=0.8 and random_share=0.4, exp"),
        ({"mask_share": 0.8, "random_share": 0.1}, "random_share=0.1 and vocab_size=None; give"),
        ({"vocab_size": 257}, "^got vocab_size=257 for tokens of dtype uint8, expected 256"),
        ({"span": 0}, "^got span=0, expected a whole number of at least 1"),
        ({"span": 2, "rate": np.full(5, 0.1)}, r"rate of shape \(5,\), which does not broadcast"),
    ):
        call = {"rate": 0.5, "mask_token": 1} | options
        with pytest.raises(ValueError, match=said):
            jaxdrop.mask_tokens(key, tokens, **call)
