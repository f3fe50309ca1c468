# Builds and runs ExecuTorch bundles, with torch for CPUs.
#
#     docker build -f docker/executorch.Dockerfile --build-arg TORCH_INDEX=ADDRESS -t gen3dexport:executorch .
#
# TORCH_INDEX is the package index of torch's CPU builds (pytorch.org names it): the default index has the CUDA build,
# several gigabytes. docs/ci.md has the estimated size.
FROM python:3.12-slim AS build
ARG TORCH_INDEX
WORKDIR /src
COPY . .
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The constraints pin CUDA's packages too; what is not needed is not installed.
RUN python -m venv /opt/gen3dexport \
    && /opt/gen3dexport/bin/pip install --no-cache-dir --extra-index-url "${TORCH_INDEX:?}" \
       -c constraints.txt "torch==$(sed -n 's/^torch==//p' constraints.txt)+cpu" ".[executorch]"

FROM python:3.12-slim
COPY --from=build /opt/gen3dexport /opt/gen3dexport
ENV PATH=/opt/gen3dexport/bin:$PATH GEN3DEXPORT_CACHE=/cache
RUN useradd --create-home --uid 1000 gen3d && install -d -o 1000 /cache /work
USER 1000
WORKDIR /work
ENTRYPOINT ["gen3dexport"]
