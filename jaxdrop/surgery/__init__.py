"""Dropout surgery: list, replace, add and schedule the dropouts of an existing Flax model.

For an NNX model each change is made in place and returns a function that takes it back:
``replace``, ``set_rates``, ``rates_as_variables``, ``insert``, ``lora_dropout``. For a Linen model
a change holds within a context: ``replaced``, ``inserted``. ``listing``, ``table`` and ``audit``
take either.
"""

from jaxdrop.nnx._rate import DropRate as DropRate
from jaxdrop.surgery._audit import audit as audit
from jaxdrop.surgery._audit_report import Audit as Audit
from jaxdrop.surgery._audit_report import AuditRow as AuditRow
from jaxdrop.surgery._audit_report import Finding as Finding
from jaxdrop.surgery._find_dropouts import find_dropouts as find_dropouts
from jaxdrop.surgery._force_dropout import force_dropout as force_dropout
from jaxdrop.surgery._insert import insert as insert
from jaxdrop.surgery._linen import inserted as inserted
from jaxdrop.surgery._linen import replaced as replaced
from jaxdrop.surgery._listing import Row as Row
from jaxdrop.surgery._listing import listing as listing
from jaxdrop.surgery._listing import table as table
from jaxdrop.surgery._lora_dropout import lora_dropout as lora_dropout
from jaxdrop.surgery._rates import rates_as_variables as rates_as_variables
from jaxdrop.surgery._rates import set_rates as set_rates
from jaxdrop.surgery._replace import replace as replace
from jaxdrop.surgery._undo import Undo as Undo
