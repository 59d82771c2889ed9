"""Training with dropout that is a function of (key, step): states, jitted steps, whole runs.

A ``TrainState`` (Linen) or an ``NNXTrainState`` (NNX) carries one dropout key. ``make_train_step``
draws step n's randomness from ``fold_in(dropout_key, n)`` and from nothing else, so a run that is
stopped at step n and resumed draws what it would have drawn. ``fit`` is a whole run: batches in an
order that is a function of (seed, epoch), checkpoints, metrics, any mesh. ``sweep`` trains for many
keys and rates at once.
"""

from jaxdrop.training._checkpoint_error import CheckpointError as CheckpointError
from jaxdrop.training._checkpoints import saved_step as saved_step
from jaxdrop.training._epoch_order import epoch_order as epoch_order
from jaxdrop.training._fit import fit as fit
from jaxdrop.training._mesh import shard_state as shard_state
from jaxdrop.training._nnx_state import NNXTrainState as NNXTrainState
from jaxdrop.training._state import TrainState as TrainState
from jaxdrop.training._step import make_eval_step as make_eval_step
from jaxdrop.training._step import make_train_step as make_train_step
from jaxdrop.training._stop_signals import Stopped as Stopped
from jaxdrop.training._sweep import sweep as sweep
from jaxdrop.training._update_kept import update_kept as update_kept
