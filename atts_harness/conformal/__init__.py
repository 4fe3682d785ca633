"""Which share of turns the target takes over: banks, conformal p-values, coverage, control.

`make_policy` turns settings into a policy that `atts_harness.strategy.TakeoverPolicy` describes;
what is guaranteed stands in docs/guarantees.md, the paper's symbols in `pvalues`.
"""

from atts_harness.conformal.bank import Bank, bank_of
from atts_harness.conformal.bankfile import read_bank, write_bank
from atts_harness.conformal.factory import make_policy
from atts_harness.conformal.options import CalibrationOptions
from atts_harness.conformal.policy import ConformalPolicy
from atts_harness.conformal.provenance import Provenance, fingerprint

__all__ = [
    "Bank",
    "CalibrationOptions",
    "ConformalPolicy",
    "Provenance",
    "bank_of",
    "fingerprint",
    "make_policy",
    "read_bank",
    "write_bank",
]
