"""What all backends over HTTP share: traffic, replies, options, and servers started by a run.

Nothing here depends on one engine. Differences between engines live in their plugins. The commands
of this package (`atts serve-models`, `doctor`, `warmup`) read the `ServerKind` of a plugin's
`BackendKind`.
"""
