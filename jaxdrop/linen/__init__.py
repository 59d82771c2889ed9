"""Dropout and its relatives as Flax Linen modules."""

from jaxdrop.linen._alpha_dropout import AlphaDropout as AlphaDropout
from jaxdrop.linen._concrete_dropout import ConcreteDropout as ConcreteDropout
from jaxdrop.linen._cutout import Cutout as Cutout
from jaxdrop.linen._dot_product_attention import dot_product_attention as dot_product_attention
from jaxdrop.linen._drop_block import DropBlock as DropBlock
from jaxdrop.linen._drop_connect import DropConnectDense as DropConnectDense
from jaxdrop.linen._drop_path import DropPath as DropPath
from jaxdrop.linen._drop_path_subset import DropPathSubset as DropPathSubset
from jaxdrop.linen._dropout import Dropout as Dropout
from jaxdrop.linen._embedding_dropout import EmbeddingDropout as EmbeddingDropout
from jaxdrop.linen._feature_alpha_dropout import FeatureAlphaDropout as FeatureAlphaDropout
from jaxdrop.linen._gaussian_dropout import GaussianDropout as GaussianDropout
from jaxdrop.linen._gaussian_noise import GaussianNoise as GaussianNoise
from jaxdrop.linen._layer_drop import LayerDrop as LayerDrop
from jaxdrop.linen._locked_dropout import LockedDropout as LockedDropout
from jaxdrop.linen._patch_dropout import PatchDropout as PatchDropout
from jaxdrop.linen._recurrent_dropout import RecurrentDropout as RecurrentDropout
from jaxdrop.linen._spatial_dropout import SpatialDropout as SpatialDropout
from jaxdrop.linen._token_skip import TokenSkip as TokenSkip
from jaxdrop.linen._unit_dropout_conv import UnitDropoutConv as UnitDropoutConv
from jaxdrop.linen._unit_dropout_mlp import UnitDropoutMLP as UnitDropoutMLP
from jaxdrop.linen._variational_conv import VariationalConv as VariationalConv
from jaxdrop.linen._variational_dense import VariationalDense as VariationalDense
from jaxdrop.linen._variational_dropout import VariationalDropout as VariationalDropout
from jaxdrop.linen._word_dropout import WordDropout as WordDropout
from jaxdrop.linen._zoneout import Zoneout as Zoneout
