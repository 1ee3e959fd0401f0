# The HTTP front end, without PyTorch. Build it from the root of the repository:
#   docker build --file docker/api.Dockerfile --tag emmetd-api .
# PYTHON_IMAGE may name a mirror, or the same image by its digest.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/emmetd
# This layer changes only when a dependency does. The list is complete, so nothing else is resolved or fetched.
COPY docker/api-requirements.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/emmetd/bin/python install --no-deps --only-binary :all: --requirement /build/api-requirements.txt

FROM ${PYTHON_IMAGE} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN --mount=type=cache,target=/root/.cache/pip pip install setuptools==80.9.0
WORKDIR /build
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./client .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="emmetd-api" \
      org.opencontainers.image.description="The HTTP front end of emmetd: edits, versions, evaluations and completions."
RUN groupadd --gid 10001 emmetd \
    && useradd --uid 10001 --gid emmetd --home-dir /srv/emmetd/data --no-create-home --shell /usr/sbin/nologin emmetd \
    && install --directory --owner emmetd --group emmetd /srv/emmetd /srv/emmetd/data /srv/emmetd/blobs \
       /srv/emmetd/backups
COPY --from=dependencies /opt/emmetd /opt/emmetd
COPY docker/entrypoint.sh docker/health.py docker/housekeeping.py /usr/local/lib/emmetd/
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip --disable-pip-version-check --python /opt/emmetd/bin/python install --no-cache-dir --no-deps /wheels/*.whl
ENV PATH=/opt/emmetd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EMMETD_DATA=/srv/emmetd/data \
    EMMETD_BLOB_URL=/srv/emmetd/blobs
WORKDIR /srv/emmetd
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "/usr/local/lib/emmetd/health.py", "http://127.0.0.1:8000/livez"]
ENTRYPOINT ["/usr/local/lib/emmetd/entrypoint.sh"]
CMD ["emmetd", "api", "--host", "0.0.0.0"]
