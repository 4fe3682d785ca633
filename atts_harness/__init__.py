"""Draft/target test-time scaling strategies as lm-eval models.

The submodules are the public contract: `atts_harness.strategy` and `atts_harness.transcript` for
authors of strategies, `atts_harness.backend` for backends, `atts_harness.hookspecs` for plugins,
`atts_harness.records` for whatever reads results, `atts_harness.testing` for tests of all of them.
"""

from atts_harness._version import __version__ as __version__
