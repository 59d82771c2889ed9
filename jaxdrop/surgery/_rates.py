"""set_rates and rates_as_variables: one rate for all dropouts, or a schedule, in place."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdrop._core.rate import check_rate
from jaxdrop.nnx import Cutout, DropPathSubset, LayerDrop, PatchDropout, TokenSkip
from jaxdrop.nnx._dropout import FlaxDropout
from jaxdrop.nnx._rate import DropRate, in_variable
from jaxdrop.surgery._attention import DroppingAttention
from jaxdrop.surgery._attention_rate import attention_rate, rate_in_variable
from jaxdrop.surgery._find_dropouts import choose_dropouts
from jaxdrop.surgery._kinds import is_attention, kind_of, rate_name
from jaxdrop.surgery._layer_stack import stack_shape
from jaxdrop.surgery._undo import Undo
from jaxdrop.surgery._where import Path, Where, everywhere, nothing_chosen

_ONE_NUMBER = (Cutout, LayerDrop)
_SHAPES_FOLLOW = (DropPathSubset, PatchDropout, TokenSkip)


def set_rates(model: nnx.Module, rate: Any, where: Where = everywhere) -> Undo:
    """Give every dropout of a model a rate.

    Inside a jitted step the rate may be traced: ``set_rates(model, schedule(step))``. It is then
    kept in a variable, as by ``rates_as_variables``. Flax's own dropouts and attention, and
    ``DropPathSubset``, ``PatchDropout`` and ``TokenSkip``, take only a number.

    Args:
      model: an NNX model.
      rate: probability of dropping, or a function of (path, module) that returns one, or None to
        leave that module as it is. In a stack it may be an array of one for each layer. Where a
        module has several (zoneout), each becomes this one; of ``GaussianNoise`` it is the stddev.
      where: predicate on path and module.

    Returns:
      A function that takes the change back.

    Raises:
      TypeError, ValueError: if model, rate or where is invalid, a module cannot hold the rate, or
        no dropout is chosen. Nothing is changed then.

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
            chosen.append((module, _fitting(model, path, module, new)))
    if not chosen:
        there = [(path, kind_of(module)) for path, module in found]
        raise nothing_chosen("dropout", "the function of the rate returned None for", there)
    undo = Undo()
    for module, new in chosen:
        variables = _variables(module)
        for variable in variables:
            undo.write(variable, jnp.broadcast_to(new, variable[...].shape))
        if not variables:
            undo.set(module, **{rate_name(module): new})
    return undo


def rates_as_variables(model: nnx.Module, where: Where = everywhere) -> Undo:
    """Move the rates into the model's state, so that a new rate needs no compilation.

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
        name, stack = rate_name(module), stack_shape(model, path)
        held = getattr(module, name)
        several = isinstance(held, tuple)
        put = functools.partial(_in_variable, module, stack)
        new = tuple(map(put, held)) if several else put(held)
        if held is not new:
            undo.set(module, **{name: new})
    return undo


def _in_variable(module: Any, stack: tuple[int, ...], rate: Any) -> nnx.Variable:
    if isinstance(rate, nnx.Variable):
        return rate
    return (rate_in_variable if is_attention(module) else in_variable)(rate, stack)


def _variables(module: Any) -> tuple[DropRate, ...]:
    """Return the variables that hold a module's rates, if all of its rates are in some."""
    held = getattr(module, rate_name(module))
    entries = held if isinstance(held, tuple) else (held,)
    return entries if all(isinstance(entry, DropRate) for entry in entries) else ()


def _fitting(model: nnx.Module, path: Path, module: Any, rate: Any) -> Any:
    """Return a new rate as the module can hold it, or raise a sentence."""
    check_rate(rate)
    _check_held(path, module)
    traced, shape = isinstance(rate, jax.core.Tracer), np.shape(rate)
    if is_attention(module) and not _variables(module):
        return attention_rate(path, module, module.attention_fn, rate, stack_shape(model, path))
    if not _takes_arrays(module):
        if traced or shape:
            what = "a traced rate" if traced else f"an array of rates such as {rate!r:.60}"
            raise TypeError(_python_only(path, module, what))
        return float(rate)
    variables = _variables(module)
    for variable in variables:
        one = variable.get_metadata("layer_shape", variable[...].shape)
        if shape not in ((), one, variable[...].shape):
            raise ValueError(
                f"got a rate of shape {shape} for the {kind_of(module)} at {path}, which holds one "
                f"of shape {variable[...].shape}; give it one number, or that many"
            )
    if variables:
        return jnp.asarray(rate, jnp.float32)
    stack = stack_shape(model, path) if isinstance(rate, (np.ndarray, jax.Array)) else ()
    of_one = shape[len(stack) :] if shape[: len(stack)] == stack else shape
    if isinstance(module, _ONE_NUMBER) and of_one:
        raise ValueError(
            f"got a rate of shape {shape} for the {kind_of(module)} at {path}, which takes one "
            "number"
        )
    # An attribute that is a tracer would stay behind; an array would be mapped over with the stack.
    return in_variable(rate, stack) if traced or stack else rate


def _takes_arrays(module: Any) -> bool:
    if is_attention(module):
        return isinstance(module.attention_fn, DroppingAttention)
    return type(module) is not FlaxDropout and not isinstance(module, _SHAPES_FOLLOW)


def _check_held(path: Path, module: Any) -> None:
    held = vars(module).get(rate_name(module))
    if not isinstance(held, (int, float, np.generic, np.ndarray, tuple, nnx.Variable, jax.Array)):
        raise TypeError(
            f"the {kind_of(module)} at {path} has no rate that can be set (it is learned, or one "
            "for each weight); leave it out with where"
        )


def _python_only(path: Path, module: Any, what: str) -> str:
    return (
        f"the {kind_of(module)} at {path} cannot take {what}: it looks at its rate in Python; "
        "surgery.replace makes flax's Dropout and attention ours, others have to be left out with "
        "where"
    )
