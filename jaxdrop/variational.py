"""What training with variational dropout needs: its regulariser, sparsity and pruning.

The members themselves are ``jaxdrop.variational_dropout``, ``.variational_dense`` and
``.variational_conv``. With ``loss`` added to a model's loss, most weights of its variational layers
become noise; ``sparsity`` says how many, and test mode leaves them out.
"""

from jaxdrop._functional.local_reparameterization import (
    local_reparameterization as local_reparameterization,
)
from jaxdrop._functional.variational_kl import kl_divergence as kl_divergence
from jaxdrop._functional.variational_kl import log_alpha as log_alpha
from jaxdrop._functional.variational_kl import prune as prune
from jaxdrop._functional.variational_kl import pruned as pruned
from jaxdrop._functional.variational_params import loss as loss
from jaxdrop._functional.variational_params import sparsity as sparsity
