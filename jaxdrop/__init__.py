"""jaxdrop: dropout for JAX, where a mask is a cheap pure function of (key, element index).

``jaxdrop.linen``, ``.mc``, ``.nnx``, ``.recurrent``, ``.surgery``, ``.testing``, ``.training`` and
``.variational`` are imported when they are first named: ``import jaxdrop`` does not import flax.
"""

from typing import TYPE_CHECKING

from jaxdrop._attention.attention_keep_mask import attention_keep_mask as attention_keep_mask
from jaxdrop._attention.dot_product_attention import dot_product_attention as dot_product_attention
from jaxdrop._attention.ring_attention import ring_attention as ring_attention
from jaxdrop._core.bits import random_bits as random_bits
from jaxdrop._core.mask import keep_mask as keep_mask
from jaxdrop._core.mesh import default_mesh_axes as default_mesh_axes
from jaxdrop._core.prng import fast_prng_impl as fast_prng_impl
from jaxdrop._functional.alpha_dropout import alpha_dropout as alpha_dropout
from jaxdrop._functional.concrete_dropout import concrete_dropout as concrete_dropout
from jaxdrop._functional.concrete_dropout import concrete_regularizer as concrete_regularizer
from jaxdrop._functional.condition_dropout import condition_dropout as condition_dropout
from jaxdrop._functional.condition_dropout import (
    joint_condition_dropout as joint_condition_dropout,
)
from jaxdrop._functional.cutout import cutout as cutout
from jaxdrop._functional.drop_block import drop_block as drop_block
from jaxdrop._functional.drop_connect import drop_connect as drop_connect
from jaxdrop._functional.drop_connect import drop_connect_dense as drop_connect_dense
from jaxdrop._functional.drop_edge import drop_edge as drop_edge
from jaxdrop._functional.drop_edge import edge_keep_mask as edge_keep_mask
from jaxdrop._functional.drop_message import drop_message as drop_message
from jaxdrop._functional.drop_node import drop_node as drop_node
from jaxdrop._functional.drop_path import drop_path as drop_path
from jaxdrop._functional.drop_path import drop_path_rates as drop_path_rates
from jaxdrop._functional.drop_path_subset import drop_path_subset as drop_path_subset
from jaxdrop._functional.dropout import dropout as dropout
from jaxdrop._functional.embedding_dropout import embedding_dropout as embedding_dropout
from jaxdrop._functional.expert_dropout import expert_dropout as expert_dropout
from jaxdrop._functional.feature_alpha_dropout import feature_alpha_dropout as feature_alpha_dropout
from jaxdrop._functional.gaussian_dropout import gaussian_dropout as gaussian_dropout
from jaxdrop._functional.gaussian_noise import gaussian_noise as gaussian_noise
from jaxdrop._functional.kept_units import kept_units as kept_units
from jaxdrop._functional.layer_drop import layer_drop as layer_drop
from jaxdrop._functional.layer_skip_rates import layer_skip_rates as layer_skip_rates
from jaxdrop._functional.locked_dropout import locked_dropout as locked_dropout
from jaxdrop._functional.lora_dropout import lora_dropout as lora_dropout
from jaxdrop._functional.mask_tokens import mask_tokens as mask_tokens
from jaxdrop._functional.max_norm import max_norm as max_norm
from jaxdrop._functional.modality_dropout import modality_dropout as modality_dropout
from jaxdrop._functional.patch_dropout import patch_dropout as patch_dropout
from jaxdrop._functional.patch_dropout import patch_indices as patch_indices
from jaxdrop._functional.r_drop import r_drop_loss as r_drop_loss
from jaxdrop._functional.r_drop import symmetric_kl as symmetric_kl
from jaxdrop._functional.recurrent_dropout import recurrent_cell as recurrent_cell
from jaxdrop._functional.recurrent_dropout import recurrent_dropout as recurrent_dropout
from jaxdrop._functional.spatial_dropout import spatial_dropout as spatial_dropout
from jaxdrop._functional.take_units import take_units as take_units
from jaxdrop._functional.token_skip import token_skip as token_skip
from jaxdrop._functional.unit_dropout_conv import unit_dropout_conv as unit_dropout_conv
from jaxdrop._functional.unit_dropout_mlp import unit_dropout_mlp as unit_dropout_mlp
from jaxdrop._functional.unit_dropout_mlp import unit_dropout_mlp_kept as unit_dropout_mlp_kept
from jaxdrop._functional.variational_conv import variational_conv as variational_conv
from jaxdrop._functional.variational_dense import variational_dense as variational_dense
from jaxdrop._functional.variational_dropout import variational_dropout as variational_dropout
from jaxdrop._functional.weight_drop import weight_drop as weight_drop
from jaxdrop._functional.word_dropout import word_dropout as word_dropout
from jaxdrop._functional.zoneout import zoneout as zoneout

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxdrop import linen as linen
    from jaxdrop import mc as mc
    from jaxdrop import nnx as nnx
    from jaxdrop import recurrent as recurrent
    from jaxdrop import surgery as surgery
    from jaxdrop import testing as testing
    from jaxdrop import training as training
    from jaxdrop import variational as variational
else:
    # Hidden from type checkers, which would take it to say that any name is there.
    _SUBMODULES = "linen mc nnx recurrent surgery testing training variational".split()
    _RENAMED = {
        "is_recurrent_kernel": "jaxdrop.recurrent.is_recurrent_kernel",
        "log_alpha": "jaxdrop.variational.log_alpha",
        "prune": "jaxdrop.variational.prune",
        "pruned": "jaxdrop.variational.pruned",
        "variational_kl": "jaxdrop.variational.kl_divergence",
        "variational_linear": "jaxdrop.variational.local_reparameterization",
        "variational_loss": "jaxdrop.variational.loss",
        "variational_sparsity": "jaxdrop.variational.sparsity",
    }

    def __getattr__(name):
        import importlib

        from jaxdrop._core.renamed import renamed

        if name in _SUBMODULES:
            return importlib.import_module(f"{__name__}.{name}")
        return renamed(__name__, name, _RENAMED)

    def __dir__():
        return sorted({*globals(), *_SUBMODULES})
