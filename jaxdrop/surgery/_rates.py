"""set_rates and rates_as_variables: one rate for all dropouts, or a schedule, without a rebuild."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdrop._rate import check_rate
from jaxdrop.nnx._dropout import FlaxDropout
from jaxdrop.surgery._chosen import nothing_chosen
from jaxdrop.surgery._find import Path, Where, choose_dropouts, everywhere
from jaxdrop.surgery._kinds import is_attention, kind_of, rate_name
from jaxdrop.surgery._stack import stack_of
from jaxdrop.surgery._undo import Undo


class DropRate(nnx.Variable):
    """A dropout rate that is part of the model's state and not of its parameters."""


def set_rates(model: nnx.Module, rate: Any, where: Where = everywhere) -> Undo:
    """Give every dropout of a model a rate.

    Inside a jitted step on a model that is merged there, as in ``make_train_step``, the rate may be
    traced: ``set_rates(model, schedule(step))``. For a model that lives on, a traced rate needs
    ``rates_as_variables`` first. Dropouts of flax's own and attention take a Python number only.

    Args:
      model: an NNX model.
      rate: probability of dropping, or a function of (path, module) that returns one, or None to
        leave that module as it is. Where a module has several (zoneout), each becomes this one; of
        ``GaussianNoise`` it is the stddev.
      where: predicate on path and module.

    Returns:
      A function that takes the change back.

    Raises:
      TypeError, ValueError: with what was given and what is expected, also if no dropout is
        chosen; nothing is changed then.

    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> model = nnx.Sequential(nnx.Dropout(0.5), nnx.Dropout(0.5))
    >>> undo = surgery.set_rates(model, lambda path, module: 0.1 * (1 + path[-1]))
    >>> [layer.rate for layer in model.layers]
    [0.1, 0.2]
    """
    chosen = []
    found = choose_dropouts(model, where)
    for path, module in found:
        new = rate(path, module) if callable(rate) else rate
        if new is not None:
            _check(path, module, new)
            chosen.append((module, new))
    if not chosen:
        there = [(path, kind_of(module)) for path, module in found]
        raise nothing_chosen("dropout", "the function of the rate returned None for", there)
    undo = Undo()
    for module, new in chosen:
        name = rate_name(module)
        held = getattr(module, name)
        entries = held if isinstance(held, tuple) else (held,)
        if all(isinstance(entry, DropRate) for entry in entries):
            for entry in entries:
                undo.write(entry, _spread(new, jnp.shape(entry[...])))
        else:
            undo.set(module, **{name: new})
    return undo


def rates_as_variables(model: nnx.Module, where: Where = everywhere) -> Undo:
    """Move the rates into the model's state, so that a new rate compiles nothing anew.

    ``set_rates`` writes into them, between calls of an ``nnx.jit`` function or inside it. In a
    stack that ``nnx.vmap`` made and ``nnx.scan`` runs, there is one for every layer: ``set_rates``
    takes one number for all, or an array of one for each.

    Args:
      model: an NNX model whose dropouts are jaxdrop's; ``replace`` makes them so.
      where: predicate on path and module.

    Returns:
      A function that takes the change back.

    Raises:
      TypeError: if a dropout that was chosen needs a Python rate; nothing is changed then.
      ValueError: if no dropout is chosen.

    >>> from flax import nnx
    >>> import jaxdrop.nnx
    >>> from jaxdrop import surgery
    >>> model = nnx.Sequential(jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    >>> undo = surgery.rates_as_variables(model)
    >>> undo_rates = surgery.set_rates(model, 0.25)
    >>> float(model.layers[0].rate[...])
    0.25
    """
    chosen = choose_dropouts(model, where)
    for path, module in chosen:
        if not _takes_arrays(module):
            raise TypeError(_python_only(path, module, "a rate in a variable"))
        _check_held(path, module)
    undo = Undo()
    for path, module in chosen:
        name, stack = rate_name(module), stack_of(model, path)
        held = getattr(module, name)
        several = isinstance(held, tuple)
        new = tuple(_in_variable(r, stack) for r in held) if several else _in_variable(held, stack)
        if held is not new:
            undo.set(module, **{name: new})
    return undo


def _in_variable(rate: Any, stack: tuple[int, ...]) -> nnx.Variable:
    if isinstance(rate, nnx.Variable):
        return rate
    return DropRate(_spread(rate, stack))


def _spread(rate: Any, shape: tuple[int, ...]) -> jax.Array:
    """Give one rate to each layer of a stack; rates of some shape are left as they are."""
    rate = jnp.asarray(rate, jnp.float32)
    return rate if rate.ndim else jnp.broadcast_to(rate, shape)


def _takes_arrays(module: Any) -> bool:
    return type(module) is not FlaxDropout and not is_attention(module)


def _check(path: Path, module: Any, rate: Any) -> None:
    check_rate(rate)
    if isinstance(rate, jax.core.Tracer) and not _takes_arrays(module):
        raise TypeError(_python_only(path, module, "a traced rate"))
    if is_attention(module) and not float(rate) < 1:
        raise ValueError(
            f"got rate {rate} for the attention at {path}: flax divides by 1 - rate there, so that "
            "a rate of 1 gives NaN"
        )
    _check_held(path, module)


def _check_held(path: Path, module: Any) -> None:
    held = vars(module).get(rate_name(module))
    if not isinstance(held, (int, float, np.generic, np.ndarray, tuple, nnx.Variable, jax.Array)):
        raise TypeError(
            f"the {kind_of(module)} at {path} has no rate that can be set (it is learned, or one "
            "for each weight); leave it out with where"
        )


def _python_only(path: Path, module: Any, what: str) -> str:
    return (
        f"the {kind_of(module)} at {path} cannot take {what}: it compares the rate in Python; "
        "surgery.replace makes flax's Dropout one of ours, attention has to be left out with where"
    )
