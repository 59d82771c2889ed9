"""Dropout and its relatives as Flax NNX modules."""

from jaxdrop.nnx._alpha import AlphaDropout as AlphaDropout
from jaxdrop.nnx._alpha import FeatureAlphaDropout as FeatureAlphaDropout
from jaxdrop.nnx._concrete import ConcreteDropout as ConcreteDropout
from jaxdrop.nnx._drop_connect import DropConnectDense as DropConnectDense
from jaxdrop.nnx._dropout import Dropout as Dropout
from jaxdrop.nnx._layer_drop import LayerDrop as LayerDrop
from jaxdrop.nnx._maps import Cutout as Cutout
from jaxdrop.nnx._maps import DropBlock as DropBlock
from jaxdrop.nnx._maps import SpatialDropout as SpatialDropout
from jaxdrop.nnx._noise import GaussianDropout as GaussianDropout
from jaxdrop.nnx._noise import GaussianNoise as GaussianNoise
from jaxdrop.nnx._paths import DropPath as DropPath
from jaxdrop.nnx._paths import PatchDropout as PatchDropout
from jaxdrop.nnx._recurrent import RecurrentDropout as RecurrentDropout
from jaxdrop.nnx._sequences import EmbeddingDropout as EmbeddingDropout
from jaxdrop.nnx._sequences import LockedDropout as LockedDropout
from jaxdrop.nnx._sequences import WordDropout as WordDropout
from jaxdrop.nnx._variational import VariationalConv as VariationalConv
from jaxdrop.nnx._variational import VariationalDense as VariationalDense
from jaxdrop.nnx._variational_dropout import VariationalDropout as VariationalDropout
from jaxdrop.nnx._zoneout import Zoneout as Zoneout
