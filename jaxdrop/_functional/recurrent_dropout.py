"""Recurrent dropout: masks that stay the same over time (Gal & Ghahramani 2016; Semeniuta 2016)."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax

from jaxdrop._core.annotations import Flag, MeshAxes, RateLike
from jaxdrop._core.checks import check_function, check_input, check_sequence
from jaxdrop._core.key import AnyKey, Words, check_key, key_words, typed
from jaxdrop._core.mesh import check_mesh_axes
from jaxdrop._core.mode import resolve, resolve_key
from jaxdrop._core.rate import check_rate
from jaxdrop._core.renamed import renamed_argument
from jaxdrop._functional.dropout import dropout

Cell = Callable[[Any, Any], tuple[Any, Any]]


@renamed_argument(carry="x")
def recurrent_dropout(
    key: AnyKey | None,
    carry: Any,
    rate: RateLike,
    *,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Any:
    """Drop units of the hidden state that a recurrent cell is about to read.

    ``h -> where(keep, h / (1 - rate), 0)``, c unchanged, with the same key at every time step

    The same key gives the same mask, so nothing has to be carried from step to step: the mask costs
    a few integer operations per unit, next to the cell's matrix product.

    Args:
      key: a random key, the same one for all steps of a sequence; may be None when deterministic is
        True or rate is 0 or 1.
      carry: the state: one array h, or a tuple whose last entry is h, such as the (c, h) of Flax's
        LSTM cells; the other entries are memory and are left alone.
      rate: probability of dropping a unit, as in ``dropout``.
      deterministic: True for test time: the carry is returned as it is.
      mesh_axes: inside ``shard_map``, the mesh axes that split h, as in ``dropout``.

    Returns:
      The carry with h dropped; E[h'] = h.

    Not for a cell that passes on the h it reads, as GRU does (``z h + (1 - z) n``): the units kept
    would be scaled by 1 / (1 - rate) at every step and grow without bound. Drop what its matrices
    read instead; ``jaxdrop.linen.RecurrentDropout`` and ``jaxdrop.nnx.RecurrentDropout`` do so for
    Flax's cells.

    Raises:
      TypeError: if the state is not a floating or complex array.
      ValueError: as ``dropout``.

    Reference:
      Gal & Ghahramani, A Theoretically Grounded Application of Dropout in RNNs, 2016.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> key, state = jax.random.key(0), (jnp.ones((2, 4)), jnp.ones((2, 4)))
    >>> c, h = jaxdrop.recurrent_dropout(key, state, 0.5)
    >>> c.min(), sorted(set(h.ravel().tolist()))
    (Array(1., dtype=float32), [0.0, 2.0])
    """
    state = carry[-1] if isinstance(carry, tuple) else carry
    h = check_input(state, "recurrent_dropout", "carry")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "recurrent_dropout")
    h = dropout(key, h, rate, deterministic=test_mode, mesh_axes=mesh_axes)
    return (*carry[:-1], h) if isinstance(carry, tuple) else h


def recurrent_cell(
    key: AnyKey | None,
    cell: Cell,
    rate: RateLike,
    *,
    input_rate: RateLike = 0.0,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Cell:
    """Give a function ``cell(carry, x) -> (carry, y)`` input and recurrent dropout.

    Every step drops x by one mask and h by another, both fixed over time: they depend on the key
    and on the unit alone, so ``lax.scan`` over the result needs no masks among its inputs.

    Args:
      key: a random key, one per sequence (not per step); may be None at test time, and where each
        rate is 0 or 1.
      cell: any recurrent step with a carry as in ``recurrent_dropout``, whose caution about cells
        that pass h on applies here, too.
      rate: of the hidden units, as in ``dropout``.
      input_rate: of the inputs.
      deterministic: True for test time.
      mesh_axes: inside ``shard_map``, the mesh axes that split x and h, both alike, as in
        ``dropout``.

    Returns:
      A function like cell.

    Raises:
      TypeError: if cell is not a function.
      ValueError: if a rate is outside [0, 1] or the key is missing, at once and not at a step.

    Reference:
      Gal & Ghahramani, A Theoretically Grounded Application of Dropout in RNNs, 2016.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> def cell(h, x):
    ...     return jnp.tanh(x + 0.5 * h), x
    >>> dropped = jaxdrop.recurrent_cell(jax.random.key(0), cell, 0.25, input_rate=0.5)
    >>> last, inputs = jax.lax.scan(dropped, jnp.zeros(8), jnp.ones((7, 8)))
    >>> bool((inputs == inputs[:1]).all()), sorted(set(inputs.ravel().tolist()))
    (True, [0.0, 2.0])
    """
    check_function(cell, "cell", "recurrent_cell takes a function (carry, x) -> (carry, y)")
    check_mesh_axes(mesh_axes, None)  # x and h are not there yet
    rates = check_rate(rate), check_rate(input_rate, "input_rate")
    keys = [resolve_key(key, each, deterministic, "recurrent_cell")[0] for each in rates]
    key = keys[0] if keys[1] is None else keys[1]
    input_key, hidden_key, _ = recurrent_keys(key, "recurrent_cell")

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        options: Any = {"deterministic": deterministic, "mesh_axes": mesh_axes}
        x = dropout(input_key, x, input_rate, **options)
        return cell(recurrent_dropout(hidden_key, carry, rate, **options), x)

    return step


def recurrent_keys(key: AnyKey | None, caller: str = "recurrent dropout") -> tuple[Any, Any, Any]:
    """Derive the words of the masks of inputs, hidden state and candidate from a sequence's key."""
    if key is None:
        return None, None, None
    key = typed(check_key(key, caller))
    inputs, hidden, candidate = (Words(key_words(jax.random.fold_in(key, i))) for i in range(3))
    return inputs, hidden, candidate


def check_layers(recurrent_layers: Any) -> frozenset[str]:
    """Return the names of the layers that read a cell's state, or raise an error."""
    named = recurrent_layers
    if isinstance(named, (set, frozenset)):  # which is no sequence
        named = tuple(named)
    expected = "names of layers, such as ('hr', 'hz')"
    names = check_sequence(named, "recurrent_layers", expected)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"got recurrent_layers={recurrent_layers!r:.60}, expected {expected}")
    return frozenset(names)


def first_call(cell: Any, drop: Callable[[jax.Array], jax.Array]) -> Callable:
    """The cell's activation function, with drop applied to the candidate: its first result."""
    activation = getattr(cell, "activation_fn", None)
    if activation is None:
        raise ValueError(
            f"{type(cell).__name__} has no activation_fn, so its candidate cannot be reached; use "
            "variant='state'"
        )
    calls = itertools.count()

    # Only v is kept for the backward pass, not the candidate before and after it was dropped.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def candidate(v: jax.Array) -> jax.Array:
        return drop(activation(v))

    return lambda v: candidate(v) if next(calls) == 0 else activation(v)
