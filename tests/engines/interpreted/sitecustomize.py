"""Lets vLLM's V2 model runner start on the processor: Triton kernels run in Triton's interpreter.

vLLM asks whether Triton has a backend for the processor, and no package of the index has one. The
interpreter (`TRITON_INTERPRET=1`) needs none.
"""

import importlib.util
import os
import types

if os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton"):
    from triton.backends import backends

    driver = types.SimpleNamespace(is_active=lambda: True)
    backends["cpu"] = types.SimpleNamespace(driver=driver, compiler=None)
