# The service, with the model that is in the package: 28×28 images and pictures to digits, no torch.
#
#   docker build -t mnistnet . && docker run --rm -p 8000:8000 mnistnet
#   docker build -t mnistnet-follow --target follow .      # with git, for --registry and --follow
#
# The last stage is the one that is built by default. docs/SERVING.md says more.
FROM python:3.14.8-slim-trixie@sha256:f85c5697265c178cc6887276c55fe16cf3d14ca35c3df6a5eab3b360534a55d2 AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY . .
# Without the native engine, which trains only.
RUN python -m venv /opt/mnistnet \
    && PIP_CONSTRAINT=constraints.txt /opt/mnistnet/bin/pip install \
    --config-settings=wheel.cmake=false ".[serve]"

FROM python:3.14.8-slim-trixie@sha256:f85c5697265c178cc6887276c55fe16cf3d14ca35c3df6a5eab3b360534a55d2 AS base
COPY --from=build /opt/mnistnet /opt/mnistnet
ENV PATH="/opt/mnistnet/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready')"]
ENTRYPOINT ["mnistnet", "serve", "--host", "0.0.0.0"]

FROM base AS follow
# Debian keeps the newest version of a package only, so none is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git openssh-client \
    && rm -rf /var/lib/apt/lists/*
USER 65532:65532

FROM base AS serve
USER 65532:65532
