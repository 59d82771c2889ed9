"""replace: flax's dropouts of an NNX model become jaxdrop's, in place."""

from typing import Any

from flax import nnx

from jaxdrop._core.checks import check_choice
from jaxdrop._functional.dropout import Bits
from jaxdrop.nnx import Dropout
from jaxdrop.nnx._dropout import FlaxDropout
from jaxdrop.surgery._attention import with_our_dropout
from jaxdrop.surgery._find_dropouts import choose_dropouts
from jaxdrop.surgery._kinds import is_attention
from jaxdrop.surgery._undo import Undo
from jaxdrop.surgery._where import Where, everywhere


def replace(model: nnx.Module, where: Where = everywhere, *, bits: Bits = "fast") -> Undo:
    """Turn every ``flax.nnx.Dropout`` of a model into a ``jaxdrop.nnx.Dropout``.

    A module stays the same object and only its class changes, so lists, shared modules and
    optimizers that refer to it see the change. Rate, mode and stream of keys stay; parameters,
    paths and what is stored at them are not touched. Subclasses of ``flax.nnx.Dropout`` other than
    jaxdrop's are left alone.

    A ``MultiHeadAttention`` drops by ``jaxdrop.dot_product_attention`` from then on, with one mask
    for all examples and heads if its ``broadcast_dropout`` says so; test mode stays flax's. One
    with an ``attention_fn`` of its own, or with a precision for each operand, is left alone;
    ``listing`` says whose function each of them has.

    Args:
      model: an NNX model.
      where: predicate on path and module, to replace some of them.
      bits: "fast", or "key" for the masks that flax would have drawn; attention is left alone then.

    Returns:
      A function that takes the change back.

    Raises:
      TypeError, ValueError: if model, where or bits is invalid, or no dropout is chosen. Nothing
        is changed then.

    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> model = nnx.Sequential(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), nnx.Dropout(0.5))
    >>> undo = surgery.replace(model)
    >>> type(model.layers[1])
    <class 'jaxdrop.nnx._dropout.Dropout'>
    >>> undo()
    >>> type(model.layers[1]).__module__
    'flax.nnx.nn.stochastic'
    """
    check_choice(bits, "bits", ("fast", "key"))
    undo = Undo()
    for _, module in choose_dropouts(model, where):
        _replace_one(module, bits, undo)
    return undo


def _replace_one(module: Any, bits: Bits, undo: Undo) -> None:
    if type(module) is FlaxDropout:
        undo.become(module, Dropout)
        undo.set(module, scale_at="train", bits=bits)
    elif is_attention(module) and bits == "fast":
        function = with_our_dropout(module)
        if function is not module.attention_fn:
            undo.set(module, attention_fn=function)
