#!/bin/bash
# test-sglang.sh: the real SGLang, and both engines together; see test-engine.sh.
exec bash "$(dirname "$0")/test-engine.sh" sglang "$@"
