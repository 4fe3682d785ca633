"""What the backends behind HTTP share: traffic, replies, options, and servers started by a run.

Nothing here knows an engine. What differs between engines lives in their plugins, which describe
themselves to the commands of this package (`atts serve-models`, `doctor`, `warmup`) by the
`ServerKind` of their `BackendKind`.
"""
