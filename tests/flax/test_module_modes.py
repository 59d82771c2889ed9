"""Arguments of the modules: what is a mode, where no key is needed, rates that are variables."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop.linen as L
import jaxdrop.nnx as N
from scripts.members._layer import MAPS as X
from tests.flax.layers import DRAWN_AT_ONE, LAYERS, MODULES, NO_RECORD, nnx_class
from tests.flax.test_modules import every

KEY = jax.random.key(12)
ROWS = X[:, 0]
STATE = (jnp.ones((2, 3)), jnp.ones((2, 3)))
ZEROS = [0, 0.0, np.float32(0), np.int32(0), np.zeros(()), jnp.float32(0), jnp.int32(0)]
MODES = [True, np.True_, np.array(True), jnp.bool_(True)]


class Twice(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return 2 * x


# name -> (rate, mode) -> a call that has no key; of the modules whose call is not Member's
LINEN: dict[str, Callable[[Any, Any], Any]] = {
    "DropConnectDense": lambda rate, mode: linen(L.DropConnectDense(3, rate), ROWS, mode),
    "LayerDrop": lambda rate, mode: linen(L.LayerDrop(Twice(), rate), ROWS, mode),
    "RecurrentDropout": lambda rate, mode: linen(
        L.RecurrentDropout(nn.LSTMCell(3), rate, input_rate=rate), STATE, mode, ROWS
    ),
    "Zoneout": lambda rate, mode: linen(L.Zoneout(nn.LSTMCell(3), rate), STATE, mode, ROWS),
}
NNX: dict[str, Callable[[Any, Any], Any]] = {
    "DropConnectDense": lambda rate, mode: drop_keys(N.DropConnectLinear(4, 3, rate, rngs=seed()))(
        ROWS, deterministic=mode
    ),
    "LayerDrop": lambda rate, mode: N.LayerDrop(Doubled(), rate)(ROWS, deterministic=mode),
    "RecurrentDropout": lambda rate, mode: N.RecurrentDropout(lstm(), rate, input_rate=rate)(
        STATE, ROWS, deterministic=mode
    ),
    "Zoneout": lambda rate, mode: N.Zoneout(lstm(), rate)(STATE, ROWS, deterministic=mode),
}
LEARNED: dict[str, Callable[[Any], Any]] = {
    "linen dense": lambda mode: linen(L.VariationalDense(3), ROWS, mode),
    "linen dropout": lambda mode: linen(L.VariationalDropout(), ROWS, mode),
    "linen concrete": lambda mode: linen(L.ConcreteDropout(), ROWS, mode),
    "nnx dense": lambda mode: drop_keys(N.VariationalLinear(4, 3, rngs=seed()))(
        ROWS, deterministic=mode
    ),
    "nnx dropout": lambda mode: N.VariationalDropout(4)(ROWS, deterministic=mode),
    "nnx concrete": lambda mode: N.ConcreteDropout()(ROWS, deterministic=mode),
}


class Doubled(nnx.Module):
    def __call__(self, x: Any) -> Any:
        return 2 * x


def seed() -> nnx.Rngs:
    return nnx.Rngs(0)


def lstm() -> nnx.LSTMCell:
    return nnx.LSTMCell(4, 3, rngs=seed())


def drop_keys(layer: Any) -> Any:
    layer.rngs = None
    return layer


def linen(layer: nn.Module, x: Any, mode: Any, *more: Any) -> Any:
    variables = layer.init(KEY, x, *more, deterministic=True)
    return layer.apply(variables, x, *more, deterministic=mode)


def members(name: str, rate: Any, mode: Any) -> tuple[Any, Any, Any]:
    """The input, and what Linen's and NNX's module make of it without a key."""
    _, x, options = MODULES[name]
    ours = getattr(L, name)(rate, **options).apply({}, x, deterministic=mode)
    return x, ours, getattr(N, name)(rate, **options)(x, deterministic=mode)


@every
@pytest.mark.parametrize("zero", ZEROS, ids=lambda z: f"{type(z).__name__} {z!r}")
def test_no_key_is_needed_at_any_kind_of_zero(name: str, zero: Any) -> None:
    for y in members(name, zero, False)[1:]:
        np.testing.assert_array_equal(y, MODULES[name][1])


@every
@pytest.mark.parametrize("mode", MODES, ids=lambda m: f"{type(m).__name__}")
def test_no_key_is_needed_in_any_kind_of_test_mode(name: str, mode: Any) -> None:
    for y in members(name, 0.5, mode)[1:]:
        np.testing.assert_array_equal(y, MODULES[name][1])


@pytest.mark.slow
@pytest.mark.parametrize("calls", [LINEN, NNX], ids=["linen", "nnx"])
@pytest.mark.parametrize("name", LINEN)
def test_layers_around_layers_need_no_key_where_nothing_is_drawn(calls: Any, name: str) -> None:
    want = calls[name](0.5, True)
    for mode in MODES:
        jax.tree.map(np.testing.assert_array_equal, calls[name](0.5, mode), want)
    want = calls[name](0.0, True)  # a zoneout in test mode takes the mean at its rate
    for zero in ZEROS:
        jax.tree.map(np.testing.assert_array_equal, calls[name](zero, False), want)
    with pytest.raises(Exception, match="(?i)needs (a key|PRNG)|no rng named"):  # or flax's own
        calls[name](0.5, False)


ONES = [1, 1.0, 1 + 1e-13, np.float32(1), np.ones(()), jnp.float32(1), jnp.int32(1)]


@every
def test_no_key_is_needed_at_any_kind_of_one(name: str) -> None:
    function, x, options = MODULES[name]
    if name in DRAWN_AT_ONE:
        with pytest.raises(Exception, match="(?i)needs (a key|PRNG)"):
            members(name, 1.0, False)
        return
    want = function(None, x, 1.0, **options)
    for one in ONES:
        for y in members(name, one, False)[1:]:
            np.testing.assert_array_equal(y, want)


@pytest.mark.slow
@pytest.mark.parametrize("calls", [LINEN, NNX], ids=["linen", "nnx"])
@pytest.mark.parametrize("name", LINEN)
def test_layers_around_layers_need_no_key_at_any_kind_of_one(calls: Any, name: str) -> None:
    first, *others = (calls[name](one, False) for one in ONES)
    for y in others:
        jax.tree.map(np.testing.assert_array_equal, y, first)
    if name == "Zoneout":
        np.testing.assert_array_equal(first[0], STATE)
    if name == "DropConnectDense":
        assert (first == 0).all()
    if name == "LayerDrop":
        np.testing.assert_array_equal(first, ROWS)


@pytest.mark.parametrize("calls", [LINEN, NNX], ids=["linen", "nnx"])
@pytest.mark.parametrize("name", LINEN)
def test_a_rate_out_of_range_is_told_before_a_missing_key(calls: Any, name: str) -> None:
    for rate in (-0.5, 1.5):
        with pytest.raises(ValueError, match=f"^got rate={rate}; expected 0 <= rate <= 1"):
            calls[name](rate, False)


def test_dropout_needs_no_key_at_any_kind_of_one() -> None:
    for one in ONES:
        y: Any = L.Dropout(one, deterministic=False).apply({}, X)
        assert (y == 0).all()
        assert (N.Dropout(one)(X) == 0).all()


@pytest.mark.parametrize("calls", [LINEN, NNX], ids=["linen", "nnx"])
def test_a_tuple_of_zeros_needs_no_key_either(calls: Any) -> None:
    got = calls["Zoneout"]((np.float32(0), jnp.float32(0)), False)
    jax.tree.map(np.testing.assert_array_equal, got, calls["Zoneout"](0.0, True))


@pytest.mark.parametrize("name", LEARNED)
def test_learned_layers_need_no_key_in_any_kind_of_test_mode(name: str) -> None:
    for mode in MODES[1:]:
        np.testing.assert_array_equal(LEARNED[name](mode), LEARNED[name](True))


@every
def test_a_number_is_no_mode(name: str) -> None:
    _, x, options = MODULES[name]
    for mode in (7, 1, 0, 0.0, jnp.int32(1), np.ones(2, bool), "test"):
        for library in (L, N):
            layer = getattr(library, name)(0.5, deterministic=mode, **options)
            call = layer if library is N else lambda x, layer=layer: layer.apply({}, x)
            with pytest.raises(TypeError, match="^got deterministic=.* expected True, False or a"):
                call(x)


@pytest.mark.parametrize("name", LINEN)
def test_a_number_is_no_mode_of_the_others(name: str) -> None:
    for calls in (LINEN, NNX):
        with pytest.raises(TypeError, match="^got deterministic=1 of type int, expected True"):
            calls[name](0.5, 1)


@pytest.mark.parametrize("name", LEARNED)
def test_a_number_is_no_mode_of_learned_layers(name: str) -> None:
    with pytest.raises(TypeError, match="^got deterministic=1 of type int, expected True"):
        LEARNED[name](1)


@every
def test_only_the_rate_is_positional(name: str) -> None:
    options = MODULES[name][2]
    for library in (L, N):
        with pytest.raises(TypeError, match="takes .* positional argument"):
            getattr(library, name)(0.5, 7, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.DropConnectDense(3, 0.5, True),  # type: ignore[call-arg, arg-type]
        lambda: L.ConcreteDropout(0.1, 0.1),  # type: ignore[call-arg, arg-type]
        lambda: L.LayerDrop(Twice(), 0.5, True),  # type: ignore[call-arg, arg-type]
        lambda: L.RecurrentDropout(nn.GRUCell(3), 0.5, 0.5),  # type: ignore[call-arg, arg-type]
        lambda: L.Zoneout(nn.GRUCell(3), 0.5, True),  # type: ignore[call-arg, arg-type]
        lambda: L.VariationalDense(3, True),  # type: ignore[call-arg, arg-type]
        lambda: L.VariationalConv(3, (3,), True),  # type: ignore[call-arg, arg-type]
        lambda: L.VariationalDropout(0.1, True),  # type: ignore[call-arg, arg-type]
    ],
)
def test_no_mode_is_positional(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        make()


@every
def test_a_misspelt_option_is_refused(name: str) -> None:
    for library in (L, N):
        with pytest.raises(TypeError, match="unexpected keyword argument 'determinstic'"):
            getattr(library, name)(0.5, determinstic=True, **MODULES[name][2])


def test_cutout_gives_every_example_a_block_by_default() -> None:
    want: Any = L.Cutout(1.0, size=4).apply({}, X, deterministic=False, rng=KEY)
    assert (want == 0).any(axis=(1, 2)).all()
    y = L.Cutout(size=4).apply({}, X, deterministic=False, rng=KEY)
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(N.Cutout(size=4)(X, rngs=KEY), want)


def test_gaussian_noise_has_a_stddev_and_no_bound_of_one() -> None:
    want = N.GaussianNoise(2.5)(X, rngs=KEY)
    ours = L.GaussianNoise(stddev=2.5, deterministic=False)
    layer = N.GaussianNoise(stddev=0.5)
    layer.rate = 2.5
    assert ours.rate == ours.stddev == layer.rate == layer.stddev == 2.5
    np.testing.assert_array_equal(ours.apply({}, X, rng=KEY), want)
    np.testing.assert_array_equal(layer(X, rngs=KEY), want)


# name -> rate -> an NNX call with a key
WITH_RATES: dict[str, Callable[[Any], Any]] = {
    layer.name: (lambda rate, layer=layer: layer.nnx(seed(), rate)(layer.x))
    for layer in LAYERS.values()
    if layer.has_rate
} | {
    "Dropout": lambda rate: N.Dropout(rate)(ROWS, rngs=KEY),
    "DropConnectDense": lambda rate: N.DropConnectLinear(4, 3, rate, rngs=seed())(ROWS, rngs=KEY),
    "LayerDrop": lambda rate: N.LayerDrop(Doubled(), rate)(ROWS, rngs=KEY),
    "RecurrentDropout": lambda rate: N.RecurrentDropout(lstm(), rate, input_rate=rate)(
        STATE, ROWS, rngs=KEY
    ),
    "Zoneout": lambda rate: N.Zoneout(lstm(), rate)(STATE, ROWS, rngs=KEY),
    "Zoneout of two": lambda rate: N.Zoneout(lstm(), (rate, 0.25))(STATE, ROWS, rngs=KEY),
}

# Their rate is a Python number.
SHAPES_FOLLOW = {"DropPathSubset", "PatchDropout", "TokenSkip"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WITH_RATES.keys() - SHAPES_FOLLOW))
def test_a_rate_may_be_a_variable(name: str) -> None:
    call, rate = WITH_RATES[name], jnp.float32(0.5)
    want = call(rate)
    jax.tree.map(np.testing.assert_array_equal, call(nnx.Variable(rate)), want)
    # In one compile it is traced, as a schedule has it.
    got = jax.jit(lambda rate: call(nnx.Variable(rate)))(rate)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)


def test_every_nnx_module_with_a_rate_is_among_those_tried() -> None:
    modules = {c for c in vars(N).values() if isinstance(c, type) and issubclass(c, nnx.Module)}
    taken = {m: {*inspect.signature(m.__init__).parameters} for m in modules}
    with_rate = {m for m in modules if taken[m] & {"rate", "stddev"}}
    names = WITH_RATES.keys() - {"Zoneout of two"} | NO_RECORD
    assert with_rate == {nnx_class(name) for name in names}
    learned = {"ConcreteDropout", "VariationalConv", "VariationalLinear", "VariationalDropout"}
    assert learned <= {m.__name__ for m in modules - with_rate}


def test_a_zoneout_of_variables_keeps_them_in_its_state() -> None:
    cell = N.Zoneout(lstm(), (nnx.Variable(jnp.float32(0.5)), nnx.Variable(jnp.float32(0.0))))
    cell = nnx.merge(*nnx.split(cell))
    cell.rate[0][...] = jnp.float32(0.0)
    got = cell(STATE, ROWS, rngs=KEY)
    jax.tree.map(np.testing.assert_array_equal, got, lstm()(STATE, ROWS))
