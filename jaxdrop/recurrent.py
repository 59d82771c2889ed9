"""Which parameters of Flax's recurrent cells read the hidden state: what ``weight_drop`` drops."""

from jaxdrop._functional.weight_drop import RECURRENT_LAYERS as RECURRENT_LAYERS
from jaxdrop._functional.weight_drop import is_recurrent_kernel as is_recurrent_kernel
