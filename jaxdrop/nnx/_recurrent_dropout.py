"""Recurrent dropout for any NNX RNN cell."""

from collections.abc import Callable, Collection
from typing import Any, Literal

import jax
from flax import nnx

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
from jaxdrop.nnx._cell import CellWrapper
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import single


class RecurrentDropout(CellWrapper):
    """Give an RNN cell input and recurrent dropout, with masks that stay the same over time.

    ``h[t] = cell(h[t - 1] m / (1 - rate), x[t] n / (1 - input_rate))``, ``P(m = 0) = rate``

    ``nnx.RNN(RecurrentDropout(nnx.LSTMCell(3, 64, rngs=rngs), 0.25, input_rate=0.25, rngs=rngs))``

    A step reads the stream's next key without advancing it, so that all steps of a sequence have
    the same masks; ``initialize_carry``, which ``nnx.RNN`` calls once per sequence, advances it,
    except where nothing is dropped, so that evaluation does not change the masks of training. Where
    you give ``initial_carry`` yourself (truncated backpropagation), call ``new_masks()`` before
    each segment; in a ``lax.scan`` of your own, give each step the same key as ``rngs``.

    variant="state" (Gal & Ghahramani) drops what the recurrent matrices read: h of an LSTM's
    (c, h), and in a cell with one state (GRU, SimpleCell) the inputs of the layers named in
    recurrent_layers, since such a cell also passes its state on, which must not be scaled at every
    step. variant="candidate" (Semeniuta et al.) drops the cell's update, so that memory is never
    lost: g in ``c = f c + i g``, n in ``h = z h + (1 - z) n``; the cell needs an ``activation_fn``.

    Inside ``shard_map`` the scan of an RNN needs a carry that varies over the mesh axis from the
    start, whatever the cell: call it with ``initial_carry=jax.lax.pcast(
    cell.initialize_carry(x[:, 0].shape, rngs), "data", to="varying")``.

    Args:
      cell: the cell, any that ``nnx.RNN`` takes.
      rate: of hidden units, or of the candidate.
      input_rate: of inputs.
      variant: "state" or "candidate".
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      recurrent_layers: names of the attributes that read the state of a cell with one state.
      rngs: an Rngs or a RngStream to fork, or None to give a key in each call.
      mesh_axes: inside ``shard_map``, the mesh axes that split a step's state and inputs (batch,
        features), as in ``jaxdrop.dropout``.

    References:
      Gal & Ghahramani, A Theoretically Grounded Application of Dropout in RNNs, 2016; Semeniuta,
      Severyn & Barth, Recurrent Dropout without Memory Loss, 2016.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> rngs, x = nnx.Rngs(0), jnp.ones((2, 5, 3))
    >>> gru = nnx.GRUCell(3, 4, rngs=rngs)
    >>> rnn = nnx.RNN(jaxdrop.nnx.RecurrentDropout(gru, 0.25, rngs=rngs), rngs=rngs)
    >>> y, bare = rnn(x), nnx.RNN(gru, rngs=rngs)(x)
    >>> y.shape == bare.shape, bool((y == bare).all())
    (True, False)
    """

    def __init__(
        self,
        cell: nnx.RNNCellBase,
        rate: Any = 0.0,
        *,
        input_rate: Any = 0.0,
        variant: Literal["state", "candidate"] = "state",
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        recurrent_layers: Collection[str] = RECURRENT_LAYERS,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        mesh_axes: MeshAxes = (),
    ):
        self._keep_cell(cell)
        check_choice(variant, "variant", ("state", "candidate"))
        self.rate = keep_rate(rate)
        self.input_rate = keep_rate(input_rate)
        self.variant = variant
        self.recurrent_layers = check_layers(recurrent_layers)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(
        self, carry: Any, inputs: Any, *, deterministic: Any = None, rngs: Any = None
    ) -> tuple[Any, Any]:
        """Run one step; ``rngs`` may be a key, the same one for all steps of a sequence."""
        mode = known_mode(self._mode(deterministic))
        rate, input_rate = self._rates()
        if is_idle(mode, rate, input_rate):
            return self.cell(carry, inputs)
        key = self._sequence_key(rngs) if needs_key(mode, rate, input_rate) else None
        input_key, hidden_key, candidate_key = recurrent_keys(key)
        options: Any = {"deterministic": mode, "mesh_axes": self.mesh_axes}
        inputs = dropout(input_key, inputs, input_rate, **options)

        def drop(key: Any, value: jax.Array) -> jax.Array:
            return dropout(key, value, rate, **options)

        if self.variant == "candidate":
            activation = first_call(self.cell, lambda g: drop(candidate_key, g))
            return _with(self.cell, {"activation_fn": activation})(carry, inputs)
        if isinstance(carry, tuple):
            carry = recurrent_dropout(hidden_key, carry, rate, **options)
            return self.cell(carry, inputs)
        layers = {n: layer for n, layer in vars(self.cell).items() if n in self.recurrent_layers}
        if not layers:
            raise ValueError(
                f"{type(self.cell).__name__} has one state and no attribute named in "
                f"recurrent_layers={sorted(self.recurrent_layers)}; name there the layers that "
                "read the state"
            )
        dropped = {n: _after(layer, lambda h: drop(hidden_key, h)) for n, layer in layers.items()}
        return _with(self.cell, dropped)(carry, inputs)

    def _sequence_key(self, rngs: Any) -> jax.Array:
        """The key given in the call, or else the stream's next one, without advancing it."""
        if rngs is None and isinstance(self.rngs, nnx.RngStream):
            stream = single(self.rngs)
            return jax.random.fold_in(stream.key[...], stream.count[...])
        return self._key(rngs)

    def new_masks(self) -> None:
        """Advance the stream, so that the next step draws new masks, if it draws any."""
        mode = False if self.deterministic is None else known_mode(self.deterministic)
        if isinstance(self.rngs, nnx.RngStream) and not is_idle(mode, *self._rates()):
            self.rngs()

    def _rates(self) -> tuple[Any, Any]:
        return known_rate(read_rate(self.rate)), known_rate(read_rate(self.input_rate))

    def initialize_carry(self, *args: Any, **kwargs: Any) -> Any:
        """Start a sequence: new masks, and the initial carry of the wrapped cell."""
        self.new_masks()
        return super().initialize_carry(*args, **kwargs)


def _with(cell: nnx.RNNCellBase, attributes: dict[str, Any]) -> nnx.RNNCellBase:
    """A view of the cell that has other attributes and the same variables."""
    view = object.__new__(type(cell))
    # Bypasses nnx's own __setattr__, which would record the change in the state that both share.
    vars(view).update(vars(cell) | attributes)
    return view


def _after(layer: Callable, drop: Callable[[jax.Array], jax.Array]) -> Callable:
    return lambda h: layer(drop(h))
