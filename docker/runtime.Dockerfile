# Makes assets with ExecuTorch and ONNX bundles, without torch.
#
#     docker build -f docker/runtime.Dockerfile -t gen3dexport:runtime .
#     docker run --rm -v "$PWD:/work" gen3dexport:runtime run chair-maker --prompt "a tall chair" -o chair.glb
#
# docs/ci.md has the estimated size.
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/gen3dexport \
    && /opt/gen3dexport/bin/pip install --no-cache-dir -c constraints.txt ".[runtime]"

FROM python:3.12-slim
COPY --from=build /opt/gen3dexport /opt/gen3dexport
ENV PATH=/opt/gen3dexport/bin:$PATH GEN3DEXPORT_CACHE=/cache
RUN useradd --create-home --uid 1000 gen3d && install -d -o 1000 /cache /work
USER 1000
WORKDIR /work
ENTRYPOINT ["gen3dexport"]
