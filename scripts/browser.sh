#!/bin/sh
# browser.sh: Chromium for the tests of the report page, where Debian's packages can be had.
# Elsewhere those tests skip and say so.
set -e
if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then exit 0; fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "no chromium and no way to install it here: the browser tests will skip" >&2
  exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
