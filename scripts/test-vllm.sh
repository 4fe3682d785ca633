#!/bin/bash
# test-vllm.sh: the real vLLM; see test-engine.sh.
exec bash "$(dirname "$0")/test-engine.sh" vllm "$@"
