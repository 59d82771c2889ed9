"""DropBlock: Ghiasi 2018."""

import jaxdrop
from scripts.members._case import INVERTED, Case
from scripts.members._layer import MAPS, rated
from scripts.members._panel import N, Panel, in_maps
from scripts.members._record import Record
from scripts.members._timed import Timed, over_maps

RECORD = Record(
    section="Feature maps, branches, tokens",
    after="spatial_dropout",
    method="DropBlock",
    paper="Ghiasi 2018",
    one_decision_for="a block of a map",
    mean_preserved="yes, at every position",
    variance_preserved="no",
    use_for="large feature maps",
    not_for="maps hardly larger than a block",
    cases=(
        Case(
            "drop_block",
            INVERTED,
            options=lambda x: {"block_size": 3},
            shape=(2, 6, 3),
            shared=None,
        ),
    ),
    layers=(rated("DropBlock", MAPS, block_size=3, share_channels=True),),
    panels=(
        Panel("drop_block, size 5", "one map", "", in_maps(jaxdrop.drop_block, N, block_size=5)),
    ),
    timed=(
        Timed("drop_block, 7 x 7", over_maps(jaxdrop.drop_block), "neighbours"),
        Timed(
            "drop_block, shared by channels",
            over_maps(jaxdrop.drop_block, share_channels=True),
            "neighbours",
        ),
    ),
)
