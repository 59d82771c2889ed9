"""RecurrentDropout as a Flax Linen module."""

import copy
import dataclasses
from collections.abc import Callable, Collection
from typing import Any, Literal

import jax
from flax import linen as nn

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_choice
from jaxdrop._flax.call import is_idle, known_mode, known_rate, needs_key
from jaxdrop._functional.dropout import dropout
from jaxdrop._functional.recurrent_dropout import (
    check_layers,
    first_call,
    recurrent_dropout,
    recurrent_keys,
)
from jaxdrop._functional.weight_drop import RECURRENT_LAYERS
from jaxdrop.linen._cell import CellWrapper


class RecurrentDropout(CellWrapper):
    """Give an RNN cell input and recurrent dropout, with masks that stay the same over time.

    ``h[t] = cell(h[t - 1] m / (1 - rate), x[t] n / (1 - input_rate))``, ``P(m = 0) = rate``

    ``nn.RNN(RecurrentDropout(nn.LSTMCell(64), rate=0.25, input_rate=0.25, deterministic=False),
    split_rngs={"params": False, "dropout": False})``

    ``"dropout": False`` gives every time step the same key, hence the same masks; True would draw
    new ones at each step. Parameters are where the bare cell has them.

    variant="state" (Gal & Ghahramani) drops what the recurrent matrices read: h of an LSTM's
    (c, h), and in a cell with one state (GRU, MGU, SimpleCell) the inputs of the layers named in
    recurrent_layers, since such a cell also passes its state on, which must not be scaled at every
    step. variant="candidate" (Semeniuta et al.) drops the cell's update, so that memory is never
    lost: g in ``c = f c + i g``, n in ``h = z h + (1 - z) n``; the cell needs an ``activation_fn``.

    Inside ``shard_map`` the scan of an RNN needs a carry that varies over the mesh axis from the
    start, whatever the cell: call it with ``initial_carry=jax.lax.pcast(
    cell.initialize_carry(jax.random.key(0), x[:, 0].shape), "data", to="varying")``.

    Attributes:
      cell: the cell, any that ``nn.RNN`` takes.
      rate: of hidden units, or of the candidate.
      input_rate: of inputs.
      variant: "state" or "candidate".
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      recurrent_layers: names of the submodules that read the state of a cell with one state.
      mesh_axes: inside ``shard_map``, the mesh axes that split a step's state and inputs (batch,
        features), as in ``jaxdrop.dropout``.

    References:
      Gal & Ghahramani, A Theoretically Grounded Application of Dropout in RNNs, 2016; Semeniuta,
      Severyn & Barth, Recurrent Dropout without Memory Loss, 2016.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> cell = jaxdrop.linen.RecurrentDropout(nn.GRUCell(4), 0.25, deterministic=False)
    >>> rnn, x = nn.RNN(cell, split_rngs={"params": False, "dropout": False}), jnp.ones((2, 5, 3))
    >>> variables = rnn.init(jax.random.key(0), x)
    >>> y = rnn.apply(variables, x, rngs={"dropout": jax.random.key(1)})
    >>> bare = nn.RNN(nn.GRUCell(4)).apply(variables, x)
    >>> y.shape == bare.shape, bool((y == bare).all())
    (True, False)
    """

    rate: Any = 0.0
    _: dataclasses.KW_ONLY
    input_rate: Any = 0.0
    variant: Literal["state", "candidate"] = "state"
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    recurrent_layers: Collection[str] = RECURRENT_LAYERS
    mesh_axes: MeshAxes = ()

    def __call__(
        self, carry: Any, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> tuple[Any, Any]:
        """Run one step; ``rng``, the same at every step, takes the place of ``make_rng``'s key."""
        check_choice(self.variant, "variant", ("state", "candidate"))
        recurrent_layers = check_layers(self.recurrent_layers)
        mode = known_mode(self._mode(deterministic))
        rate, input_rate = known_rate(self.rate), known_rate(self.input_rate)
        if is_idle(mode, rate, input_rate):
            return self.cell(carry, inputs)
        key = None
        if needs_key(mode, rate, input_rate):
            key = self._step_key(rng, "False, so that every time step has the same masks")
        input_key, hidden_key, candidate_key = recurrent_keys(key)
        options: Any = {"deterministic": mode, "mesh_axes": self.mesh_axes}
        inputs = dropout(input_key, inputs, input_rate, **options)
        if self.variant == "candidate":
            cell = _with_activation(self.cell, lambda g: dropout(candidate_key, g, rate, **options))
            return cell(carry, inputs)
        if isinstance(carry, tuple):
            carry = recurrent_dropout(hidden_key, carry, rate, **options)
            return self.cell(carry, inputs)

        met = []

        def drop_state(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
            if (
                context.method_name == "__call__"
                and context.module.name in recurrent_layers
                and context.module.parent is self.cell
            ):
                met.append(context.module.name)
                h = dropout(hidden_key, args[0], rate, **options)
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


def _with_activation(cell: nn.RNNCellBase, drop: Callable) -> nn.RNNCellBase:
    """A view of a bound cell whose first activation of a step, the candidate, goes through drop."""
    view = copy.copy(cell)
    # The fields of a bound module are frozen, and a clone would have parameters of its own.
    object.__setattr__(view, "activation_fn", first_call(cell, drop))
    return view
