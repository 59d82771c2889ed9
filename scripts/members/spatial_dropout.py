"""Spatial dropout: Tompson 2015."""

import jaxdrop
from scripts.members._case import INVERTED, Case
from scripts.members._layer import MAPS, rated
from scripts.members._panel import Panel, in_maps
from scripts.members._record import Record
from scripts.members._timed import Timed, over_maps

RECORD = Record(
    section="Feature maps, branches, tokens",
    after=None,
    method="spatial dropout",
    paper="Tompson 2015",
    one_decision_for="a feature map of an example",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="convolutions",
    not_for="input images",
    cases=(Case("spatial_dropout", INVERTED, shared=(1,)),),
    layers=(rated("SpatialDropout", MAPS, channel_axis=1),),
    panels=(Panel("spatial_dropout", "16 maps", "of 6 x 6", in_maps(jaxdrop.spatial_dropout, 6)),),
    timed=(Timed("spatial_dropout", over_maps(jaxdrop.spatial_dropout)),),
)
