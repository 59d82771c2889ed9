"""lora_dropout: dropout for the adapters of an NNX model, in place."""

from typing import Any

from flax import nnx

from jaxdrop._core.rate import check_rate
from jaxdrop.nnx._lora_dropout import LoRA
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import fork
from jaxdrop.surgery._kinds import kind_of
from jaxdrop.surgery._layer_stack import stream_stack_shape
from jaxdrop.surgery._undo import Undo
from jaxdrop.surgery._where import Where, check_where, everywhere, nothing_chosen


def lora_dropout(
    model: nnx.Module,
    rate: Any,
    *,
    rngs: nnx.Rngs | nnx.RngStream,
    where: Where = everywhere,
) -> Undo:
    """Drop the inputs of the adapters of a model, each ``flax.nnx.LoRA`` in it.

    ``base(x) + x @ a @ b`` becomes ``base(x) + dropout(x) @ a @ b``

    Each adapter stays the same object, with its parameters where they were, and becomes a
    ``jaxdrop.nnx.LoRA``: ``model.train()`` and ``model.eval()`` set its mode, and in eval it does
    what it did before. Adapters inside of ``nnx.LoRALinear`` are among them. In a stack of layers
    each has its own stream of keys, as ``insert`` says.

    Args:
      model: an NNX model.
      rate: probability of dropping an element of an adapter's input.
      rngs: a Rngs or a stream; each adapter forks its own, of the collection "dropout".
      where: predicate on path and module; every adapter if left out.

    Returns:
      A function that takes the change back.

    Raises:
      TypeError: if the model is no NNX module, rngs no streams, or where no function.
      ValueError: if no adapter is chosen, or the rate is no probability. Nothing is changed then.
        A subclass of ``nnx.LoRA`` is none, since its call may be another.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> model = nnx.Sequential(nnx.LoRALinear(4, 3, lora_rank=2, rngs=nnx.Rngs(0)))
    >>> undo = surgery.lora_dropout(model, 0.1, rngs=nnx.Rngs(1))
    >>> model.layers[0].lora.rate
    0.1
    """
    check_rate(rate)
    check_where(where)
    if not isinstance(model, nnx.Module):
        raise TypeError(f"got {type(model).__name__}, expected a flax.nnx module")
    fork(rngs, "dropout")  # an error before anything is changed
    modules = [(path, module) for path, module in nnx.iter_modules(model)]
    chosen = [(p, m) for p, m in modules if type(m) is nnx.LoRA and where(p, m)]
    if not chosen:
        there = [(path, kind_of(module)) for path, module in modules]
        raise nothing_chosen("nnx.LoRA", "the model has modules of type", there)
    undo = Undo()
    for path, module in chosen:
        stream = fork(rngs, "dropout")
        stack = stream_stack_shape(model, path) if path else ()  # the model is called as it is
        undo.set(
            module,
            rate=keep_rate(rate),
            scale=1.0,
            deterministic=False,
            rng_collection="dropout",
            rngs=stream.split(stack) if stack else stream,
            mesh_axes=(),
        )
        undo.become(module, LoRA)
    return undo
