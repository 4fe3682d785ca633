# The harness for a machine without a GPU, with the engines that its tests run on, each in an
# environment of its own. Build: docker build -t atts-harness .
# Only the harness and the embedded pair: docker build --target harness -t atts-harness .
FROM python:3.11-slim-bookworm AS harness
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /opt/atts-harness
COPY . .
# The CPU build of torch comes from PyTorch's own index; TORCH_INDEX="" takes the default one.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# hadolint ignore=DL3013
RUN pip install --no-cache-dir torch==2.13.0 ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    && pip install --no-cache-dir ".[transformers,report,judge]" \
    && useradd --create-home --uid 1000 atts
USER 1000
WORKDIR /home/atts
ENTRYPOINT ["atts"]
CMD ["--help"]

# AVX512 is needed, as for the engines' tests; scripts/*-cpu/requirements.txt pin every package.
FROM harness AS engines
USER 0
WORKDIR /opt/atts-harness
RUN scripts/install-engine-cpu.sh vllm /opt/vllm \
    && scripts/install-engine-cpu.sh sglang /opt/sglang
ENV ATTS_VLLM_PYTHON=/opt/vllm/bin/python ATTS_SGLANG_PYTHON=/opt/sglang/bin/python
USER 1000
WORKDIR /home/atts
