"""Locked dropout: Gal 2016, Merity 2018."""

import jaxdrop
from scripts.members._case import INVERTED, Case
from scripts.members._layer import MAPS, rated
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

RECORD = Record(
    section="Sequences and words",
    after=None,
    method="locked dropout",
    paper="Gal 2016, Merity 2018",
    one_decision_for="a feature of a sequence",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="between recurrent layers",
    not_for="the recurrent connection itself",
    cases=(Case("locked_dropout", INVERTED, shared=(1,)),),
    layers=(rated("LockedDropout", MAPS, time_axis=1),),
    panels=(
        Panel("locked_dropout", "time", "features", square(jaxdrop.locked_dropout, time_axis=-2)),
    ),
    timed=(Timed("locked_dropout", plain(jaxdrop.locked_dropout, time_axis=-2)),),
)
