"""docs/coming-from.md: what replaces a peer's dropout drops alike, where the peer is installed."""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

pytestmark = pytest.mark.slow  # keras starts a process when it is imported

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
RATE, SHAPE = 0.3, (16, 12, 12, 8)
KEY = jax.random.key(0)


def peer(name: str) -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the import alone: not ours to mend
        return pytest.importorskip(name, reason=f"{name} is not installed")


def keras(layer: str, **options: Any) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        return getattr(peer("keras").layers, layer)(RATE, seed=1, **options)(x, training=True)

    return apply


def torchs(module: str, layer: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    """A layer of torch, or of what stands on it: channels come second there."""

    def apply(x: Any) -> Any:
        made = getattr(peer(module), layer)(*args or (RATE,), **options)
        peer("torch").manual_seed(0)
        return np.moveaxis(made(tensor(np.moveaxis(np.asarray(x), -1, 1))).numpy(), 1, -1)

    return apply


def tensor(x: Any) -> Any:
    return peer("torch").tensor(np.array(x))


def torchs_attention(x: Any) -> Any:
    """The weights: all scores are equal, and each value is a position of its own."""
    q, v = (
        tensor(jnp.zeros((16, 12, 12, 12))),
        tensor(jnp.broadcast_to(jnp.eye(12), (16, 12, 12, 12))),
    )
    functional = peer("torch.nn.functional")
    peer("torch").manual_seed(0)
    return functional.scaled_dot_product_attention(q, q, v, dropout_p=RATE).numpy()


def attention(x: Any) -> Any:
    q = jnp.zeros((16, 12, 12, 12))
    v = jnp.broadcast_to(jnp.eye(12)[:, None], q.shape)
    options = {"dropout_rate": RATE, "dropout_key": jax.random.clone(KEY)}
    return jaxdrop.dot_product_attention(q, q, v, **options).swapaxes(1, 2)


def torchvisions_blocks(x: Any) -> Any:
    """Blocks of one element: larger ones overlap by another law. Scaled by the share kept."""
    y = torchs("torchvision.ops", "DropBlock2d", RATE, block_size=1)(x)
    return np.where(y, 1 / (1 - RATE), 0)


AWD_LSTM = "fastai.text.models.awdlstm"  # fastai's


def fastais_rnn(x: Any) -> Any:
    peer("torch").manual_seed(0)
    return peer(AWD_LSTM).RNNDropout(RATE)(tensor(x.reshape(*SHAPE[:2], -1))).numpy()


def fastais_table(x: Any) -> Any:
    """The whole table, with a dropped row of zeros."""
    torch = peer("torch")
    torch.manual_seed(0)
    table = torch.nn.Embedding.from_pretrained(torch.ones(2304, 8), freeze=False)
    words = torch.arange(2304)
    return peer(AWD_LSTM).EmbeddingDropout(table, RATE)(words).detach().numpy()


def fastais_weights(x: Any) -> Any:
    torch = peer("torch")
    torch.manual_seed(0)
    cell = torch.nn.LSTM(48, 48)
    torch.nn.init.ones_(cell.weight_hh_l0)
    dropped = peer(AWD_LSTM).WeightDropout(cell, RATE)
    dropped(torch.zeros(1, 1, 48))
    return dropped.module.weight_hh_l0.detach().numpy()


def tensorflows(x: Any) -> Any:
    return peer("tensorflow").nn.dropout(np.asarray(x), RATE, seed=0).numpy()


def linen(layer: nn.Module) -> Callable[[Any], Any]:
    return lambda x: layer.apply({}, x, rngs={"dropout": jax.random.clone(KEY)})


def mine(function: Callable[..., Any], **options: Any) -> Callable[[Any], Any]:
    return lambda x: function(jax.random.clone(KEY), x, RATE, **options)


DROPOUT = mine(jaxdrop.dropout)
# What stands on the page's left, and both sides of the pair.
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "`torch.nn.Dropout(p)`": (torchs("torch.nn", "Dropout"), DROPOUT),
    "`torch.nn.Dropout1d`, `2d`": (torchs("torch.nn", "Dropout2d"), mine(jaxdrop.spatial_dropout)),
    "`torch.nn.AlphaDropout`": (torchs("torch.nn", "AlphaDropout"), mine(jaxdrop.alpha_dropout)),
    "`FeatureAlphaDropout`": (
        torchs("torch.nn", "FeatureAlphaDropout"),
        mine(jaxdrop.feature_alpha_dropout),
    ),
    "`F.scaled_dot_product_attention(dropout_p=)`": (torchs_attention, attention),
    "timm `DropPath(p)`": (torchs("timm.layers", "DropPath"), mine(jaxdrop.drop_path)),
    "torchvision `DropBlock2d(p, block_size)`": (
        torchvisions_blocks,
        mine(jaxdrop.drop_block, block_size=1),
    ),
    "torchvision `StochasticDepth`": (
        torchs("torchvision.ops", "StochasticDepth", RATE, mode="row"),
        mine(jaxdrop.drop_path),
    ),
    "`tf.nn.dropout(x, rate)`": (tensorflows, DROPOUT),
    "fastai `RNNDropout`": (
        fastais_rnn,
        lambda x: mine(jaxdrop.locked_dropout)(x.reshape(*SHAPE[:2], -1)),
    ),
    "`EmbeddingDropout`": (
        fastais_table,
        lambda x: jaxdrop.embedding_dropout(
            jax.random.clone(KEY), jnp.ones((2304, 8)), RATE, jnp.arange(2304)
        ),
    ),
    "`WeightDropout`": (
        fastais_weights,
        lambda x: jaxdrop.weight_drop(
            jax.random.clone(KEY), {"hh": {"kernel": jnp.ones((192, 48))}}, RATE
        )["hh"]["kernel"],
    ),
    "`keras.layers.Dropout(rate": (
        keras("Dropout", noise_shape=(SHAPE[0], 1, *SHAPE[2:])),
        mine(jaxdrop.dropout, broadcast_dims=(1,)),
    ),
    "`keras.layers.SpatialDropout2D`": (
        keras("SpatialDropout2D"),
        mine(jaxdrop.spatial_dropout),
    ),
    "`GaussianDropout`": (keras("GaussianDropout"), mine(jaxdrop.gaussian_dropout)),
    "`GaussianNoise`": (keras("GaussianNoise"), mine(jaxdrop.gaussian_noise)),
    "`AlphaDropout` |": (keras("AlphaDropout"), mine(jaxdrop.alpha_dropout)),
    "`haiku.dropout(rng, rate, x)`": (
        lambda x: peer("haiku").dropout(jax.random.clone(KEY), RATE, x),
        DROPOUT,
    ),
    "`equinox.nn.Dropout(p)": (
        lambda x: peer("equinox").nn.Dropout(RATE)(x, key=jax.random.clone(KEY)),
        DROPOUT,
    ),
    "`flax.linen.Dropout`": (
        linen(nn.Dropout(RATE, deterministic=False)),
        linen(jaxdrop.linen.Dropout(RATE, deterministic=False)),
    ),
    "`flax.nnx.Dropout`": (
        lambda x: nnx.Dropout(RATE, rngs=nnx.Rngs(0))(x),
        lambda x: jaxdrop.nnx.Dropout(RATE, rngs=nnx.Rngs(0))(x),
    ),
}
# Which are no dropouts of one array: each has a test of its own below.
OTHERS = ("`model.train()`", "`torch.manual_seed`", "timm `linspace", "timm `PatchDropout`")


def shared(y: np.ndarray) -> list[bool]:
    """Along which dimensions one decision is shared."""
    return [bool((y == y.take([0], d)).all()) for d in range(y.ndim)]


@pytest.mark.parametrize("left", PAIRS)
def test_a_pair_drops_alike(left: str) -> None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # the peers'
        theirs, ours = (np.asarray(f(jnp.ones(SHAPE)), np.float64) for f in PAIRS[left])
    assert theirs.shape == ours.shape and shared(theirs) == shared(ours)
    values = [np.unique(np.round(y, 5)) for y in (theirs, ours)]
    decisions = np.prod([1 if s else n for s, n in zip(shared(ours), ours.shape, strict=True)])
    if len(values[1]) == 2:
        np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
        below = [(y < y.max()).mean() for y in (theirs, ours)]
        # Six standard deviations of the difference of two shares of that many decisions.
        assert abs(below[0] - below[1]) < 6 * np.sqrt(2 * RATE * (1 - RATE) / decisions)
    else:  # noise: the second moment of n squares of a normal has a deviation of sqrt(2 / n)
        spread = [y.std() for y in (theirs, ours)]
        assert abs(spread[0] / spread[1] - 1) < 6 * np.sqrt(1 / decisions)


def test_a_pair_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (
        mine(jaxdrop.dropout, broadcast_dims=(1,)),  # shares what the other does not
        lambda x: jaxdrop.dropout(jax.random.clone(KEY), x, RATE + 0.05),
        mine(jaxdrop.dropout, scale_at="test"),
    ):
        monkeypatch.setitem(PAIRS, "wrong", (PAIRS["`flax.nnx.Dropout`"][0], wrong))
        with pytest.raises(AssertionError):
            test_a_pair_drops_alike("wrong")


def test_timms_rates_of_a_stack() -> None:
    theirs = peer("timm.layers").calculate_drop_path_rates(0.3, 12)
    np.testing.assert_allclose(jaxdrop.drop_path_rates(12, 0.3), theirs, rtol=1e-6)


def test_timms_patches_are_as_many() -> None:
    x = jnp.arange(4 * 21.0).reshape(4, 21, 1)
    peer("torch").manual_seed(0)
    theirs = peer("timm.layers").PatchDropout(RATE, ordered=True)(tensor(x)).numpy()
    ours = np.asarray(mine(jaxdrop.patch_dropout)(x))
    assert theirs.shape == ours.shape == (4, 15, 1)
    for y in (theirs, ours):
        assert (y[:, 0] == x[:, 0]).all() and (np.diff(y, axis=1) > 0).all()
        assert all(
            set(row) < set(of) for row, of in zip(y[..., 0], np.asarray(x)[..., 0], strict=True)
        )


def test_train_and_eval_mean_the_same_and_a_seed_repeats() -> None:
    torch, x = peer("torch"), np.ones(SHAPE, np.float32)
    theirs, ours = torch.nn.Dropout(RATE), jaxdrop.nnx.Dropout(RATE, rngs=nnx.Rngs(0))
    for mode, drops in (("train", True), ("eval", False)):
        getattr(theirs, mode)()
        getattr(ours, mode)()
        assert (
            bool((theirs(tensor(x)) == 0).any()) == bool((ours(jnp.asarray(x)) == 0).any()) == drops
        )
    theirs.train()
    twice = [(torch.manual_seed(3), theirs(tensor(x)).numpy())[1] for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    np.testing.assert_array_equal(*(DROPOUT(x) for _ in range(2)))


def test_every_row_of_the_page_is_here() -> None:
    rows = re.findall(r"^\| (`.*?)\|", PAGE.read_text(), re.MULTILINE) + re.findall(
        r"^\| ((?:timm|torchvision|fastai) .*?)\|", PAGE.read_text(), re.MULTILINE
    )
    assert len(rows) > 15
    for row in rows:
        there = any(left.rstrip(" |") in row for left in PAIRS)
        assert there or any(name in row for name in OTHERS), row
    for left in PAIRS:
        assert any(left.rstrip(" |") in row for row in rows), left
