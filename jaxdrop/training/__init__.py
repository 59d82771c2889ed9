"""Training with dropout that is a function of (key, step): states and jitted steps.

A ``TrainState`` (Linen) or an ``NNXTrainState`` (NNX) carries one dropout key. ``make_train_step``
draws step n's randomness from ``fold_in(dropout_key, n)`` and from nothing else, so a run that is
cut at step n and continued draws what it would have drawn.
"""

from jaxdrop.training._nnx_state import NNXTrainState as NNXTrainState
from jaxdrop.training._state import TrainState as TrainState
from jaxdrop.training._step import make_eval_step as make_eval_step
from jaxdrop.training._step import make_train_step as make_train_step
