"""insert: dropout before chosen layers of an NNX model, in place."""

import functools
from typing import Any

from flax import nnx

from jaxdrop._core.rate import check_rate
from jaxdrop.nnx import Dropout
from jaxdrop.surgery._first_argument import change_first_argument
from jaxdrop.surgery._kinds import is_layer, kind_of
from jaxdrop.surgery._layer_stack import stream_stack_shape
from jaxdrop.surgery._picklable_subclass import picklable_subclass
from jaxdrop.surgery._undo import Undo
from jaxdrop.surgery._where import Where, check_where, nothing_chosen


def insert(
    model: nnx.Module, where: Where, rate: Any, *, rngs: nnx.Rngs | nnx.RngStream, **options: Any
) -> Undo:
    """Put a ``jaxdrop.nnx.Dropout`` before every layer that a predicate chooses.

    ``layer(x, ...)`` becomes ``layer(dropout(x), ...)``

    The layer stays the same object, with its parameters where they were; it gets one more
    attribute, ``dropout_before``, and a class that calls it. ``model.train()`` and ``model.eval()``
    set its mode, as any other's. In a stack that ``nnx.vmap`` made and ``nnx.scan`` runs, every
    layer gets its own stream of keys. If the streams of the stack were not split, this one is not
    either, and is treated as they are: a scan that carries streams (``nnx.Carry``) gives every
    layer its own masks, one that broadcasts them (None) gives all layers the same.

    Args:
      model: an NNX model.
      where: predicate on path and module, such as ``lambda path, m: isinstance(m, nnx.Linear)``.
        Path is a tuple of attribute names and list indices.
      rate: probability of dropping.
      rngs: a Rngs or a stream; each dropout forks its own.
      options: those of ``jaxdrop.nnx.Dropout``.

    Returns:
      A function that takes the change back.

    Raises:
      TypeError: if the model is no NNX module, or where no function.
      ValueError: if the predicate chooses no layer, or the rate is no probability. Nothing is
        changed then.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu)
    >>> undo = surgery.insert(model, lambda p, m: isinstance(m, nnx.Linear), 0.5, rngs=nnx.Rngs(1))
    >>> model(jnp.ones((1, 2))).shape, model.layers[0].dropout_before.rate
    ((1, 3), 0.5)
    """
    check_rate(rate)
    check_where(where)
    if not isinstance(model, nnx.Module):
        raise TypeError(f"got {type(model).__name__}, expected a flax.nnx module")
    chosen = [
        (path, module)
        for path, module in nnx.iter_modules(model)
        if is_layer(module) and not hasattr(module, "dropout_before") and where(path, module)
    ]
    if not chosen:
        there = [(p, kind_of(m)) for p, m in nnx.iter_modules(model) if is_layer(m)]
        raise nothing_chosen("layer", "the model has modules of type", there)
    undo = Undo()
    for path, module in chosen:
        dropout = Dropout(rate, rngs=rngs, **options)
        stack = stream_stack_shape(model, path) if path else ()  # the model is called as it is
        if stack:
            dropout.rngs = dropout.rngs.split(stack)
        undo.set(module, dropout_before=dropout)
        undo.become(module, _with_dropout_before(type(module)))
    return undo


@functools.cache
def _with_dropout_before(kind: type) -> type:
    """Return the same class for the same layer, so that equal models stay equal."""

    @functools.wraps(kind.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = change_first_argument(self.dropout_before, kind.__call__, args, kwargs)
        return kind.__call__(self, *args, **kwargs)

    return picklable_subclass(_with_dropout_before, kind, __call__=call, __doc__=kind.__doc__)
