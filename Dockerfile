# The operator's image: build a virtual environment from the lock, then copy it onto the bare base.
#
# BASE has to offer `python3` of 3.11 or newer and, for the first stage, its venv module. The official
# slim image does; so does a Debian with python3 and python3-venv. It has no default, because a tag
# means another image every week: pass it with its digest, as the README shows.
ARG BASE

FROM ${BASE} AS build

# An image that comes from a registry is named by digest; one of this machine needs none.
ARG BASE
RUN case "${BASE}" in \
        localhost/*|*@sha256:*) ;; \
        *) echo "BASE=${BASE} has no digest: write ${BASE}@sha256:..." >&2; exit 1 ;; \
    esac

# Where pip looks for packages is decided by whoever builds: by these arguments (none has a value
# unless one is given), or by a pip.conf mounted at /etc/pip.conf.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT

# One timestamp for everything that is built, so that equal sources give equal files.
ARG SOURCE_DATE_EPOCH=315532800
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    PIP_NO_COMPILE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1

# pip lives in an environment of its own, so that none ends up in the image.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/operator

WORKDIR /src
COPY requirements.lock ./
RUN /opt/build/bin/pip --python /opt/operator/bin/python install \
        --require-hashes --only-binary :all: -r requirements.lock

# What builds the wheel is locked as well; an isolated build would download it without hashes.
COPY requirements-build.lock ./
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock

COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/operator/bin/python install --no-deps --no-index /wheels/*.whl

# Nothing can write bytecode later (read-only root file system), so it is compiled now; by content and
# unchecked, because file times differ between two builds. Type stubs, headers and the commands of
# libraries are of no use at run time.
RUN find /opt/operator -depth \( -name __pycache__ -o -name '*.pyi' \) -exec rm -rf {} + \
    && find /opt/operator/bin -type f ! -name cnpg-plugin-operator -delete \
    && rm -rf /opt/operator/include \
    && /opt/operator/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/operator/lib


FROM ${BASE}

LABEL org.opencontainers.image.title="cnpg-plugin-operator" \
      org.opencontainers.image.description="Deploys, proves and registers CNPG-I plugins for CloudNativePG" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/operator /opt/operator

# PYTHONDONTWRITEBYTECODE: the root file system is read-only. PYTHONUNBUFFERED: a log line is seen when
# it is written, also the last one before a crash.
# MALLOC_*: freed memory goes back to the node, worth some MB at rest.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_MMAP_THRESHOLD_=65536 \
    MALLOC_TRIM_THRESHOLD_=65536 \
    PATH=/opt/operator/bin:$PATH

# Numeric, so that runAsNonRoot can be verified without a look into /etc/passwd.
USER 65532:65532
WORKDIR /

EXPOSE 8080
ENTRYPOINT ["/opt/operator/bin/cnpg-plugin-operator"]
CMD ["run"]
