"""Statistics of repeated samples. The unit of inference is the problem, never the sample.

Repeats of one problem share its difficulty, so they are one cluster: shares of variance of .6 to .8
between problems are usual. What an interval is about (the *estimand*) is the mean over problems
drawn like these, unless a function says otherwise (`sequential`: the mean over exactly these).

The tasks, the audit, the leaderboard and the report all use these functions. Every interval has
two sides and stays inside the range of its estimand. An input that has no answer raises
`ValueError`; with fewer than two problems there is no interval.

Modules: `votes` (pass@k, maj@k), `means` (one mean), `differences` (two methods on the same
problems), `shares` (takeovers among turns), `discrimination` (AUC), `simultaneous` (many
comparisons at once), `bounds` (on one side), `equivalence` (no worse than), `sequential` (sample
until known).
`docs/statistics.md` has the methods, their sources and how well they hold.
"""

from atts_harness.analysis.statistics.bounds import difference_bounds
from atts_harness.analysis.statistics.clusters import (
    Estimate,
    between_share,
    cluster_bootstrap,
    cluster_means,
)
from atts_harness.analysis.statistics.differences import (
    difference_interval,
    difference_p,
    paired_difference,
    problem_differences,
)
from atts_harness.analysis.statistics.discrimination import clustered_auc
from atts_harness.analysis.statistics.equivalence import (
    Equivalence,
    equivalence,
)
from atts_harness.analysis.statistics.means import clustered_mean
from atts_harness.analysis.statistics.shares import clustered_ratio, share_interval
from atts_harness.analysis.statistics.simultaneous import Family
from atts_harness.analysis.statistics.votes import maj_at_k, pass_at_k, vote_share

__all__ = [
    "Equivalence",
    "Estimate",
    "Family",
    "between_share",
    "cluster_bootstrap",
    "cluster_means",
    "clustered_auc",
    "clustered_mean",
    "clustered_ratio",
    "difference_bounds",
    "difference_interval",
    "difference_p",
    "equivalence",
    "maj_at_k",
    "paired_difference",
    "pass_at_k",
    "problem_differences",
    "share_interval",
    "vote_share",
]
