# The default image of docker sandboxes: a system, python3, and a workspace that calls may write.
# Where no base can be pulled, `scripts/base-image` builds one from distribution packages:
#   docker build --build-arg BASE=planloop-base:latest -t planloop-sandbox:latest .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN command -v python3 >/dev/null \
    || { apt-get update \
        && apt-get install -y --no-install-recommends python3 ca-certificates \
        && rm -rf /var/lib/apt/lists/*; }
RUN mkdir -p /workspace && chown 65534:65534 /workspace
WORKDIR /workspace
