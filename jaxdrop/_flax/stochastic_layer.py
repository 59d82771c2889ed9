"""StochasticLayer: the mark of every layer that drops something, or adds noise, while training."""


class StochasticLayer:
    """A base class of jaxdrop's Linen and NNX layers, so that ``surgery`` and ``mc`` find them.

    A layer that has it is found, listed and replaced by ``jaxdrop.surgery``, and turned on by
    ``jaxdrop.mc`` and ``force_dropout``, which set its attribute ``deterministic`` and pass its
    call's argument of that name. ``Dropout`` is found as a subclass of flax's class.
    """
