# The image of the worker: `docker build --tag sendas .`; deploy/image/ builds and runs it without an engine.
# Both stages stand on the Python that the tests run on. Pin its digest too where your registry tells it.
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm

# checkov:skip=CKV_DOCKER_7:the tag is in BASE
# hadolint ignore=DL3006 # the tag is in BASE
FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/sendas
WORKDIR /source

# What builds wheels is pinned like everything else, and stays behind with this stage.
COPY requirements/build.txt requirements/
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: --requirement requirements/build.txt

# Dependencies change seldom and are most of the bytes: a layer of their own. (dkimpy is published as source only.)
# `--build-arg DEPENDENCIES=console` makes the image of the console, with libraries that no worker has.
ARG DEPENDENCIES=run
COPY requirements/run.txt requirements/console.txt requirements/
RUN /opt/build/bin/pip wheel --require-hashes --only-binary :all: --no-binary dkimpy --no-build-isolation --no-deps \
        --wheel-dir /dependencies --requirement "requirements/${DEPENDENCIES}.txt" \
    && /opt/build/bin/pip --python /opt/sendas/bin/python install --no-deps --no-index /dependencies/*.whl
# Left out: the packages' tests, what their compiled parts were made from, and commands of theirs.
RUN find /opt/sendas/lib -type d \( -name tests -o -name testing \) -prune -exec rm -rf {} + \
    && find /opt/sendas/lib -type f -regex '.*\.\(pyx\|pxd\|pxi\|pyi\|c\|cpp\|h\|hpp\)' -delete \
    && find /opt/sendas/bin -type f -delete

COPY pyproject.toml README.md LICENSE ./
COPY worker worker
# In a tree of its own, so that a new version of the worker changes a small layer only.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/sendas/bin/python install --no-deps --no-index --prefix /worker /wheels/*.whl

# hadolint ignore=DL3006 # the tag is in BASE
FROM ${BASE}
# Whoever gets in finds nothing to install more with.
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/pydoc* \
        /usr/local/lib/python3.11/ensurepip \
        /usr/local/lib/python3.11/site-packages/pip* \
        /usr/local/lib/python3.11/site-packages/setuptools* \
        /usr/local/lib/python3.11/site-packages/wheel* \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/sendas
COPY --from=build /opt/sendas /opt/sendas
COPY --from=build /worker /opt/sendas

# Blocks above 1 MiB go back to the system as soon as they are free (mallopt(3)). Left alone, glibc learns from the first
# large letter to keep such blocks, tens of megabytes in each thread.
ENV MALLOC_MMAP_THRESHOLD_=1048576 \
    PATH=/opt/sendas/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SENDAS_STATE_DIR=/var/lib/sendas \
    SENDAS_HTTP_PORT=8080
# A number, because Kubernetes can only see that a number is not root.
USER 10001:10001
WORKDIR /var/lib/sendas
VOLUME /var/lib/sendas
EXPOSE 8080
# As in Kubernetes, a worker that waits for its broker is healthy: starting it again would not bring the broker back.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-I", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['SENDAS_HTTP_PORT']), timeout=4); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["sendas"]
CMD ["run"]

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sendas" \
      org.opencontainers.image.description="Sends a product's letters as its customers, through each customer's own mailbox" \
      org.opencontainers.image.licenses="GPL-3.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
