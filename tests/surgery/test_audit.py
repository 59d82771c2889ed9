"""audit finds every planted mistake of the zoo, and none in sound models.

Of two experiments' networks, tests/scripts/test_audit_command.py says so.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax.experimental import pallas as pl

import jaxdrop.nnx
from jaxdrop import surgery
from jaxdrop.surgery._audit_laws import decisions, shared_by_calls, shared_by_rows
from tests.flax.layers import LAYERS
from tests.surgery.sound_models import SHARED, EveryLayer, EveryLinenLayer, Sound, SoundNNX
from tests.surgery.zoo import ZOO, BroadcastDropoutNNX, X, variables_of


@pytest.mark.parametrize("name", ZOO)
def test_a_planted_mistake_is_found_and_nothing_else(name: str) -> None:
    animal = ZOO[name]
    model = animal.model()
    found = surgery.audit(model, X, variables=variables_of(model)).findings
    problems = {finding.problem for finding in found}
    assert problems == {animal.problem, animal.another or animal.problem}
    path = found[0].path
    assert path == animal.path or not animal.path and path[0].startswith("zoo.py:")


def test_a_sound_linen_model_gives_no_finding() -> None:
    variables = Sound().init(jax.random.key(0), X, False)
    audit = surgery.audit(Sound(), X, variables=variables)
    assert not audit.findings, audit
    on = {row.path: row for row in audit.rows if row.drops_in_training}
    assert len(on) == 8 and {row.same_every_step for row in on.values()} == {False}
    assert {row.repeated_by for row in on.values()} == {(), ("scan",), ("vmap",), ("shard_map",)}
    assert all(row.before_batch_norm is (row.kind == "jaxdrop DropPath") for row in audit.rows)
    counted = [row for row in audit.rows if row.decisions]
    assert len(counted) == 5
    for row in counted:
        assert row.dropped is not None and row.decisions is not None
        assert abs(row.dropped / row.decisions - row.rate) < 0.1


def test_a_sound_nnx_model_gives_no_finding_and_is_not_changed() -> None:
    model = SoundNNX()
    before = jax.tree.leaves(nnx.as_pure(nnx.state(model)))
    audit = surgery.audit(model, X)
    assert not audit.findings, audit
    assert len(audit.rows) == 5 and all(row.drops_in_training for row in audit.rows)
    assert "Nothing is wrong with these 5 dropouts." in str(audit)
    after = jax.tree.leaves(nnx.as_pure(nnx.state(model)))
    for a, b in zip(before, after, strict=True):
        assert a is b
    assert type(model.drop) is nnx.Dropout and model.drop.deterministic is False


@pytest.mark.slow
@pytest.mark.parametrize("library", ["nnx", "linen"])
def test_every_layer_is_sound(library: str) -> None:
    """One half of them in NNX, the other in Linen."""
    layers = {name: layer for name, layer in LAYERS.items() if not layer.label}
    names = list(layers)[library == "linen" :: 2]
    inputs, variables = [LAYERS[name].x for name in names], None
    model: Any = EveryLayer(names)
    if library == "linen":
        model = EveryLinenLayer(tuple(names))
        variables = model.init({"params": jax.random.key(1)}, inputs, False)
    audit = surgery.audit(model, inputs, variables=variables)
    shared = [name for name in names if name in SHARED]
    assert [finding.problem for finding in audit.findings] == ["shared by examples"] * len(shared)
    for finding, name in zip(audit.findings, shared, strict=True):
        assert finding.path == (("layers", names.index(name)) if library == "nnx" else (name,))
    assert len(audit.rows) == len(names)
    assert all(row.drops_in_training and not row.drops_in_test for row in audit.rows)


def test_a_mode_of_any_name_can_be_given() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any, sampling: bool = False) -> Any:
            return nn.Dropout(0.5, deterministic=not sampling)(x)

    modes: Any = {"training": {"sampling": True}, "testing": {"sampling": False}}
    assert not surgery.audit(Net(), X, variables={}, **modes).findings
    (finding,) = surgery.audit(Net(), X, variables={}).findings
    assert finding.problem == "off in training"


@pytest.mark.slow
def test_the_share_of_the_time_is_that_of_what_is_left_out() -> None:
    """Of two equal dropouts by flax, each draws half of the words; attention cannot be left out."""

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.drop, self.again = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
            self.scale = nnx.Param(jnp.ones(()))
            self.attend = BroadcastDropoutNNX()

        def __call__(self, x: Any) -> Any:
            x = self.again(jnp.tile(self.drop(jnp.tile(self.scale * x, (64, 1, 1))), (1, 1, 4)))
            return x, self.attend(x[:8, :, :16])

    rows = {row.path[0]: row.time_share for row in surgery.audit(Net(), X, timed=True).rows}
    small, large = rows["drop"], rows["again"]
    assert small is not None and large is not None and rows["attend"] is None
    # Of the words, 4 of 5 and 1 of 5; only the outer ends, since other processes run, too.
    assert large[1] > 0.3 and small[0] < 0.5 and large[1] > small[0]


def test_a_frozen_batch_norm_takes_no_statistics() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
            self.norm = nnx.BatchNorm(16, rngs=nnx.Rngs(0))

        def __call__(self, x: Any) -> Any:
            return self.norm(self.drop(x), use_running_average=True)

    (row,) = surgery.audit(Net(), X).rows
    assert not row.before_batch_norm


def test_a_batch_norm_is_seen_behind_a_scatter_and_a_kernel() -> None:
    """Their programs do not take the operands one for one: an addition, and references."""

    class Net(nnx.Module):
        def __init__(self) -> None:
            self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
            self.norm = nnx.BatchNorm(16, rngs=nnx.Rngs(0))

        def __call__(self, x: Any) -> Any:
            def double(x_ref: Any, out_ref: Any) -> None:
                out_ref[...] = x_ref[...] * 2

            dropped = self.drop(x).at[0].add(1)
            doubled = pl.pallas_call(double, out_shape=jax.typeof(dropped), interpret=True)(dropped)
            return self.norm(doubled)

    (finding,) = surgery.audit(Net(), X, num_steps=2).findings
    assert finding.problem == "before a batch norm"


def test_attention_that_drops_inside_of_a_kernel_is_on_in_training() -> None:
    """A kernel that is given the words of a key draws, as jaxdrop's for attention does."""

    def attend(q: Any, k: Any, v: Any, *, dropout_rng: Any, deterministic: Any, **_: Any) -> Any:
        def kernel(words: Any, v_ref: Any, out: Any) -> None:
            out[...] = v_ref[...] * (words[0] & 1).astype(jnp.float32)

        if deterministic:
            return v
        words = jnp.resize(jax.random.key_data(dropout_rng), (4,))
        return pl.pallas_call(kernel, out_shape=jax.typeof(v), interpret=True)(words, v)

    model = nnx.MultiHeadAttention(
        1, 16, dropout_rate=0.5, decode=False, rngs=nnx.Rngs(0), attention_fn=attend
    )
    (row,) = surgery.audit(model, X, num_steps=2).rows
    assert row.drops_in_training and not row.drops_in_test


def test_a_rate_that_is_off_by_little_is_found_with_enough_elements() -> None:
    """Thresholds of 8 bits drop 26 of 256 where a tenth is asked for."""

    class Coarse(nnx.Dropout):
        def __call__(self, inputs: Any, **options: Any) -> Any:
            if self.deterministic:
                return inputs
            key: Any = self.rngs
            words = jax.random.bits(key(), inputs.shape, "uint8")
            return jnp.where(words >= 26, inputs / 0.9, 0)

    # 16 steps of 131072 decisions: the deviation of 0.0016 is 7.5 standard deviations.
    rngs, x = nnx.Rngs(0), jnp.ones((8, 4 * 4096))
    (finding,) = surgery.audit(Coarse(0.1, rngs=rngs), x).findings
    assert finding.problem == "another rate than asked for"
    assert surgery.audit(Coarse(0.1, rngs=rngs), x[:, ::16], num_steps=2).findings == []


def test_the_chance_of_one_mask_for_all_rows_is_that_of_the_law() -> None:
    """Of all orders of the values of the rows, the share with equal rows."""
    values = (0, 0, 1, 1, 2)
    orders = set(itertools.permutations(values))
    rows = np.array([values, values])
    for limit, answer in ((1.001 / len(orders), True), (0.999 / len(orders), None)):
        assert shared_by_rows([rows[None]], limit) is answer
        assert shared_by_calls([rows], limit) is answer
    other = np.array([values, values[::-1]])
    assert shared_by_rows([rows[None], other[None]], 1.0) is False
    assert shared_by_calls([rows, other], 1.0) is False
    two_steps = shared_by_rows([rows[None]] * 2, 1.001 / len(orders) ** 2)
    assert two_steps is True and math.factorial(5) / 4 == len(orders)


def test_one_decision_says_nothing_of_a_mask_that_is_shared() -> None:
    kept = np.ones((1, 4, 1))
    assert shared_by_rows([kept] * 16, 1e-6) is None
    assert shared_by_rows([kept[:, :1]] * 16, 1e-6) is None  # one example
    masks = np.array([[1.0, 0.0, 1.0]] * 2)[:, :, None].repeat(5, 2)  # [calls, 3, 5 times the same]
    assert [m.shape for m in decisions([masks, masks], 1)] == [(2, 3, 1)] * 2
    assert [m.shape for m in decisions([masks, masks], 2)] == [(2, 3, 1)] * 2


def test_rates_that_leave_no_choice_are_no_shared_mask() -> None:
    """With a rate for each channel, orders are not equally likely: here there is one."""
    rates = np.array([0.0, 1.0] * 8, np.float32)
    model = jaxdrop.nnx.Dropout(rates, rngs=nnx.Rngs(0))
    (row,) = surgery.audit(model, X, num_steps=2).rows
    assert row.drops_in_training and row.shared_by_examples is None
    assert surgery.audit(model, X, num_steps=2).findings == []


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: surgery.audit(nn.Dense(3), X), TypeError, "got Dense without variables; pass"),
        (lambda: surgery.audit(len, X), TypeError, "expected a flax.nnx model"),  # type: ignore[arg-type]  # what is tested
        (lambda: _audit(num_steps=1), ValueError, "got num_steps=1, expected a whole number of at"),
        (lambda: _audit(training=True), TypeError, "got training=True, expected a dict"),
        (lambda: _audit(testing="off"), TypeError, "got testing='off', expected a dict"),
        (lambda: _audit(True), ValueError, "got the argument 'train' among the inputs"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(call: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


def _audit(*inputs: Any, **options: Any) -> Any:
    return surgery.audit(ZOO["never off"].model(), X, *inputs, variables={}, **options)


def test_the_table_says_what_is_wrong_and_what_to_do() -> None:
    audit = surgery.audit(ZOO["NNX one mask for the batch"].model(), X)
    for words in ("drop", "flax Dropout", "0.5", "one for all examples", "1 finding:", "1. drop:"):
        assert words in str(audit)
    assert "no dropout" in str(surgery.audit(nnx.Linear(16, 2, rngs=nnx.Rngs(0)), X))
