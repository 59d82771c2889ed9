"""Dropout and its relatives as Flax Linen modules."""

from jaxdrop.linen._alpha import AlphaDropout as AlphaDropout
from jaxdrop.linen._alpha import FeatureAlphaDropout as FeatureAlphaDropout
from jaxdrop.linen._concrete import ConcreteDropout as ConcreteDropout
from jaxdrop.linen._drop_connect import DropConnectDense as DropConnectDense
from jaxdrop.linen._dropout import Dropout as Dropout
from jaxdrop.linen._layer_drop import LayerDrop as LayerDrop
from jaxdrop.linen._maps import Cutout as Cutout
from jaxdrop.linen._maps import DropBlock as DropBlock
from jaxdrop.linen._maps import SpatialDropout as SpatialDropout
from jaxdrop.linen._noise import GaussianDropout as GaussianDropout
from jaxdrop.linen._noise import GaussianNoise as GaussianNoise
from jaxdrop.linen._paths import DropPath as DropPath
from jaxdrop.linen._paths import PatchDropout as PatchDropout
from jaxdrop.linen._recurrent import RecurrentDropout as RecurrentDropout
from jaxdrop.linen._recurrent import Zoneout as Zoneout
from jaxdrop.linen._sequences import EmbeddingDropout as EmbeddingDropout
from jaxdrop.linen._sequences import LockedDropout as LockedDropout
from jaxdrop.linen._sequences import WordDropout as WordDropout
from jaxdrop.linen._variational import VariationalConv as VariationalConv
from jaxdrop.linen._variational import VariationalDense as VariationalDense
from jaxdrop.linen._variational_dropout import VariationalDropout as VariationalDropout
