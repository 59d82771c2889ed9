"""Recurrent dropout and zoneout for any Linen RNN cell."""

import copy
import dataclasses
from collections.abc import Callable, Collection
from typing import Any, Literal

import jax
from flax import linen as nn

from jaxdrop._core.checks import check_choice
from jaxdrop._flax.call import is_idle, known_mode, known_rate
from jaxdrop._functional.dropout import dropout
from jaxdrop._functional.recurrent_dropout import (
    check_layers,
    first_call,
    recurrent_dropout,
    recurrent_keys,
    zoneout_carry,
)
from jaxdrop._functional.weight_drop import RECURRENT_LAYERS


class _Around(nn.RNNCellBase):
    """A cell around a cell, whose carry and parameters stay what and where they are without it."""

    cell: nn.RNNCellBase

    def __post_init__(self) -> None:
        if not isinstance(self.cell, nn.Module):
            raise TypeError(
                f"got cell={self.cell!r:.60} of type {type(self.cell).__name__}; "
                f"{type(self).__name__} takes an RNN cell, such as nn.LSTMCell(64), and the rate "
                "after it"
            )
        super().__post_init__()

    def setup(self) -> None:
        nn.share_scope(self, self.cell)

    @nn.nowrap
    def initialize_carry(self, *args: Any, **kwargs: Any) -> Any:
        """Return the carry of the cell, which is given the arguments."""
        return self.cell.initialize_carry(*args, **kwargs)

    @property
    def num_feature_axes(self) -> int:
        return self.cell.num_feature_axes


class RecurrentDropout(_Around):
    """Give an RNN cell input and recurrent dropout, with masks that stay the same over time.

    ``nn.RNN(RecurrentDropout(nn.LSTMCell(64), rate=0.25, input_rate=0.25, deterministic=False),
    split_rngs={"params": False, "dropout": False})``

    ``"dropout": False`` hands the same key to every time step, hence the same masks; True would
    draw new ones at each step. Parameters are where the bare cell has them.

    variant="state" (Gal & Ghahramani) drops what the recurrent matrices read: h of an LSTM's
    (c, h), and in a cell with one state (GRU, MGU, SimpleCell) the inputs of the layers named in
    recurrent_layers, since such a cell also passes its state on, which must not be scaled at every
    step. variant="candidate" (Semeniuta et al.) drops the cell's update, so that memory is never
    lost: g in ``c = f c + i g``, n in ``h = z h + (1 - z) n``; the cell needs an ``activation_fn``.

    Inside ``shard_map`` the scan of a RNN wants a carry that varies over the mesh axis from the
    start, whatever the cell: give its call ``initial_carry=jax.lax.pcast(
    cell.initialize_carry(jax.random.key(0), x[:, 0].shape), "data", to="varying")``.

    Attributes:
      cell: the cell, any that ``nn.RNN`` takes.
      rate: of hidden units, or of the candidate.
      input_rate: of inputs.
      variant: "state" or "candidate".
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      recurrent_layers: names of the submodules that read the state of a cell with one state.

    References:
      Gal & Ghahramani, A Theoretically Grounded Application of Dropout in RNNs, 2016; Semeniuta,
      Severyn & Barth, Recurrent Dropout without Memory Loss, 2016.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> cell = jaxdrop.linen.RecurrentDropout(nn.GRUCell(4), 0.25, deterministic=False)
    >>> rnn = nn.RNN(cell, split_rngs={"params": False, "dropout": False})
    >>> variables = rnn.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> rnn.apply(variables, jnp.ones((2, 5, 3)), rngs={"dropout": jax.random.key(1)}).shape
    (2, 5, 4)
    """

    rate: Any = 0.0
    _: dataclasses.KW_ONLY
    input_rate: Any = 0.0
    variant: Literal["state", "candidate"] = "state"
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    recurrent_layers: Collection[str] = RECURRENT_LAYERS

    def __call__(
        self, carry: Any, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> tuple[Any, Any]:
        """Run one step; ``rng``, the same at every step, takes the place of ``make_rng``'s key."""
        check_choice(self.variant, "variant", ("state", "candidate"))
        recurrent_layers = check_layers(self.recurrent_layers)
        mode = known_mode(nn.merge_param("deterministic", self.deterministic, deterministic))
        rate, input_rate = known_rate(self.rate), known_rate(self.input_rate)
        if is_idle(mode, rate, input_rate):
            return self.cell(carry, inputs)
        key = _step_key(self, rng, "False, so that every time step has the same masks")
        input_key, hidden_key, candidate_key = recurrent_keys(key)
        inputs = dropout(input_key, inputs, input_rate, deterministic=mode)
        if self.variant == "candidate":
            cell = _with_activation(
                self.cell, lambda g: dropout(candidate_key, g, rate, deterministic=mode)
            )
            return cell(carry, inputs)
        if isinstance(carry, tuple):
            carry = recurrent_dropout(hidden_key, carry, rate, deterministic=mode)
            return self.cell(carry, inputs)

        met = []

        def drop_state(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
            if (
                context.method_name == "__call__"
                and context.module.name in recurrent_layers
                and context.module.parent is self.cell
            ):
                met.append(context.module.name)
                h = dropout(hidden_key, args[0], rate, deterministic=mode)
                args = (h, *args[1:])
            return call(*args, **kwargs)

        with nn.intercept_methods(drop_state):
            out = self.cell(carry, inputs)
        if not met:
            raise ValueError(
                f"{type(self.cell).__name__} has one state and no submodule named in "
                f"recurrent_layers={sorted(recurrent_layers)}; name there the submodules that "
                "read the state. nn.remat and nn.jit hide a cell's submodules: apply them to "
                "RecurrentDropout instead, nn.remat(RecurrentDropout)(cell, ...)"
            )
        return out


class Zoneout(_Around):
    """Let units of an RNN cell's state keep their previous value at random: ``zoneout``.

    ``nn.RNN(Zoneout(nn.LSTMCell(64), (0.5, 0.05), deterministic=False),
    split_rngs={"params": False, "zoneout": True})``

    ``"zoneout": True`` draws a new mask at each step, which zoneout needs: with False, the same
    units would never be updated. Parameters are where the bare cell has them.

    Inside ``shard_map``: as for ``RecurrentDropout``.

    Attributes:
      cell: the cell, any that ``nn.RNN`` takes; under ``nn.remat`` or ``nn.jit`` its output counts
        as another array than h and is left alone, so apply them to Zoneout instead.
      rate: probability that a unit keeps its value; one number, or one for each entry of the carry,
        (c, h) for an LSTM. The paper uses 0.5 for c and 0.05 for h.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.

    Reference:
      Krueger et al., Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations, 2017.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> cell = jaxdrop.linen.Zoneout(nn.LSTMCell(4), (0.5, 0.05), deterministic=False)
    >>> rnn = nn.RNN(cell, split_rngs={"params": False, "zoneout": True})
    >>> variables = rnn.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> rnn.apply(variables, jnp.ones((2, 5, 3)), rngs={"zoneout": jax.random.key(1)}).shape
    (2, 5, 4)
    """

    rate: Any = 0.1
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    rng_collection: str = "zoneout"

    def __call__(
        self, carry: Any, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> tuple[Any, Any]:
        """Run one step; ``rng``, another at each step, takes the place of ``make_rng``'s key."""
        mode = known_mode(nn.merge_param("deterministic", self.deterministic, deterministic))
        rate, key = known_rate(self.rate), rng
        if not is_idle(mode, rate):
            key = _step_key(self, rng, "True, so that every time step has its own mask")
        new, y = self.cell(carry, inputs)
        return zoneout_carry(key, new, y, rate, previous=carry, deterministic=mode)


def _step_key(module: nn.Module, rng: Any, setting: str) -> Any:
    if rng is not None:
        return rng
    name = module.rng_collection
    # Flax falls back on "params", whose key is the same at every step and in every call.
    if not (module.has_rng(name) or module.is_initializing()):
        raise ValueError(
            f"{type(module).__name__} found no rng named {name!r}. Pass rngs={{{name!r}: key}} to "
            f"apply, and inside nn.RNN hand it on: nn.RNN(cell, split_rngs={{'params': False, "
            f"{name!r}: ...}}) with {setting}"
        )
    return module.make_rng(name)


def _with_activation(cell: nn.RNNCellBase, drop: Callable) -> nn.RNNCellBase:
    """A view of a bound cell whose first activation of a step, the candidate, goes through drop."""
    view = copy.copy(cell)
    # The fields of a bound module are frozen, and a clone would have parameters of its own.
    object.__setattr__(view, "activation_fn", first_call(cell, drop))
    return view
