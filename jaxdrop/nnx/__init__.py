"""Dropout and its relatives as Flax NNX modules."""

from typing import TYPE_CHECKING

from jaxdrop.nnx._alpha_dropout import AlphaDropout as AlphaDropout
from jaxdrop.nnx._concrete_dropout import ConcreteDropout as ConcreteDropout
from jaxdrop.nnx._condition_dropout import ConditionDropout as ConditionDropout
from jaxdrop.nnx._cutout import Cutout as Cutout
from jaxdrop.nnx._dot_product_attention import dot_product_attention as dot_product_attention
from jaxdrop.nnx._drop_block import DropBlock as DropBlock
from jaxdrop.nnx._drop_connect import DropConnectLinear as DropConnectLinear
from jaxdrop.nnx._drop_edge import DropEdge as DropEdge
from jaxdrop.nnx._drop_message import DropMessage as DropMessage
from jaxdrop.nnx._drop_node import DropNode as DropNode
from jaxdrop.nnx._drop_path import DropPath as DropPath
from jaxdrop.nnx._drop_path_subset import DropPathSubset as DropPathSubset
from jaxdrop.nnx._dropout import Dropout as Dropout
from jaxdrop.nnx._embedding_dropout import EmbeddingDropout as EmbeddingDropout
from jaxdrop.nnx._expert_dropout import ExpertDropout as ExpertDropout
from jaxdrop.nnx._feature_alpha_dropout import FeatureAlphaDropout as FeatureAlphaDropout
from jaxdrop.nnx._gaussian_dropout import GaussianDropout as GaussianDropout
from jaxdrop.nnx._gaussian_noise import GaussianNoise as GaussianNoise
from jaxdrop.nnx._layer_drop import LayerDrop as LayerDrop
from jaxdrop.nnx._locked_dropout import LockedDropout as LockedDropout
from jaxdrop.nnx._lora_dropout import LoRA as LoRA
from jaxdrop.nnx._modality_dropout import ModalityDropout as ModalityDropout
from jaxdrop.nnx._patch_dropout import PatchDropout as PatchDropout
from jaxdrop.nnx._recurrent_dropout import RecurrentDropout as RecurrentDropout
from jaxdrop.nnx._spatial_dropout import SpatialDropout as SpatialDropout
from jaxdrop.nnx._token_skip import TokenSkip as TokenSkip
from jaxdrop.nnx._unit_dropout_conv import UnitDropoutConv as UnitDropoutConv
from jaxdrop.nnx._unit_dropout_mlp import UnitDropoutMLP as UnitDropoutMLP
from jaxdrop.nnx._variational_conv import VariationalConv as VariationalConv
from jaxdrop.nnx._variational_dense import VariationalLinear as VariationalLinear
from jaxdrop.nnx._variational_dropout import VariationalDropout as VariationalDropout
from jaxdrop.nnx._word_dropout import WordDropout as WordDropout
from jaxdrop.nnx._zoneout import Zoneout as Zoneout

if not TYPE_CHECKING:  # type checkers would take it to say that any name is there

    def __getattr__(name):
        from jaxdrop._core.renamed import renamed

        names = {
            "DropConnectDense": "jaxdrop.nnx.DropConnectLinear",
            "VariationalDense": "jaxdrop.nnx.VariationalLinear",
        }
        return renamed(__name__, name, names)
