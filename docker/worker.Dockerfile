# A worker: the process that holds a model. Build it from the root of the repository, for the CPU or for NVIDIA GPUs:
#   docker build --file docker/worker.Dockerfile --target cpu  --tag emmetd-worker:cpu .
#   docker build --file docker/worker.Dockerfile --target cuda --tag emmetd-worker:cuda .
# PYTHON_IMAGE may name a mirror, or the same image by its digest.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
# With pip: a worker that cannot reach the model hub fetches the default model with it.
RUN python -m venv /opt/emmetd

# PyTorch is most of the image and changes least: it comes first.
FROM venv AS torch-cpu
ARG TORCH_VERSION=2.13.0
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/emmetd/bin/pip install --no-deps --index-url "${TORCH_CPU_INDEX}" "torch==${TORCH_VERSION}"

FROM venv AS torch-cuda
ARG TORCH_VERSION=2.13.0
COPY constraints.txt /build/
# The general build for Linux brings CUDA's libraries itself; the host adds only the driver.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/emmetd/bin/pip install --constraint /build/constraints.txt "torch==${TORCH_VERSION}"

FROM torch-cpu AS dependencies-cpu
COPY docker/worker-requirements.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/emmetd/bin/pip install --no-deps --only-binary :all: --requirement /build/worker-requirements.txt

FROM torch-cuda AS dependencies-cuda
COPY docker/worker-requirements.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/emmetd/bin/pip install --no-deps --only-binary :all: --requirement /build/worker-requirements.txt

FROM ${PYTHON_IMAGE} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN --mount=type=cache,target=/root/.cache/pip pip install setuptools==80.9.0
WORKDIR /build
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./client .

FROM ${PYTHON_IMAGE} AS worker
RUN groupadd --gid 10001 emmetd \
    && useradd --uid 10001 --gid emmetd --home-dir /srv/emmetd/data --no-create-home --shell /usr/sbin/nologin emmetd \
    && install --directory --owner emmetd --group emmetd /srv/emmetd /srv/emmetd/data /srv/emmetd/blobs
COPY docker/entrypoint.sh docker/health.py /usr/local/lib/emmetd/
ENV PATH=/opt/emmetd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EMMETD_DATA=/srv/emmetd/data \
    EMMETD_BLOB_URL=/srv/emmetd/blobs \
    EMMETD_WORKER_METRICS_PORT=9100
WORKDIR /srv/emmetd
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "/usr/local/lib/emmetd/health.py", "http://127.0.0.1:9100/livez"]
ENTRYPOINT ["/usr/local/lib/emmetd/entrypoint.sh"]
CMD ["emmetd", "worker"]

FROM worker AS cuda
LABEL org.opencontainers.image.title="emmetd-worker" \
      org.opencontainers.image.description="A worker of emmetd for NVIDIA GPUs."
COPY --from=dependencies-cuda /opt/emmetd /opt/emmetd
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip --disable-pip-version-check install --no-cache-dir --no-deps /wheels/*.whl
# What the NVIDIA container runtime hands in: the driver's compute part and its tools.
ENV EMMETD_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001

FROM worker AS cpu
LABEL org.opencontainers.image.title="emmetd-worker" \
      org.opencontainers.image.description="A worker of emmetd for the CPU."
COPY --from=dependencies-cpu /opt/emmetd /opt/emmetd
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip --disable-pip-version-check install --no-cache-dir --no-deps /wheels/*.whl
ENV EMMETD_DEVICE=cpu
USER 10001:10001
