"""Row dropout: the example of CONTRIBUTING.md."""

import jaxdrop
from scripts.members._case import INVERTED, Case
from scripts.members._layer import MAPS, rated
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

RECORD = Record(
    section="Activations",
    after="dropout",
    method="row dropout",
    paper="none",
    one_decision_for="a row",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="the example of CONTRIBUTING.md",
    not_for="anything else",
    cases=(Case("row_dropout", INVERTED, shared=(2,)),),
    layers=(rated("RowDropout", MAPS),),
    panels=(Panel("row_dropout", "rows", "columns", square(jaxdrop.row_dropout)),),
    timed=(Timed("row_dropout", plain(jaxdrop.row_dropout)),),
)
