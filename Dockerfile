# The operator's image: build a virtual environment from the lock, then copy it onto the base image.
#
# BASE must contain `python3` 3.11 or newer and, for the first stage, its venv module. The official slim
# image does, and so does a Debian with python3 and python3-venv. BASE has no default, because a tag
# refers to another image every week: pass it with its digest, as docs/install/index.md shows.
ARG BASE

FROM ${BASE} AS build

# An image from a registry needs a digest; an image of this machine does not.
ARG BASE
RUN case "${BASE}" in \
        localhost/*|*@sha256:*) ;; \
        *) echo "BASE=${BASE} has no digest: write ${BASE}@sha256:..." >&2; exit 1 ;; \
    esac

# You choose where pip looks for packages: with these arguments (all unset by default), or with a
# pip.conf mounted at /etc/pip.conf.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT

# One timestamp for all built files, so that the build is reproducible.
ARG SOURCE_DATE_EPOCH=315532800
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    PIP_NO_COMPILE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1

# pip has its own environment, so that the image contains no pip.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/operator

WORKDIR /src
COPY requirements.lock ./
RUN /opt/build/bin/pip --python /opt/operator/bin/python install \
        --require-hashes --only-binary :all: -r requirements.lock

# The build requirements are locked, too; an isolated build would download them without hashes.
COPY requirements-build.lock ./
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock

COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/operator/bin/python install --no-deps --no-index /wheels/*.whl

# The root file system is read-only at run time, so compile the bytecode now, also that of the standard library,
# which many base images lack. It is compiled without docstrings (PYTHONOPTIMIZE), which take 3 MB of memory. Its
# validity does not depend on file times (unchecked hashes), because these differ between two builds. Type stubs,
# headers and the commands of libraries are not needed at run time.
ENV PYTHONPYCACHEPREFIX=/opt/operator/bytecode
RUN find /opt/operator -depth \( -name __pycache__ -o -name '*.pyi' \) -exec rm -rf {} + \
    && find /opt/operator/bin -type f ! -name cnpg-plugin-operator -delete \
    && rm -rf /opt/operator/include \
    && compile="/opt/operator/bin/python -m compileall -q -j 0 -o 2 --invalidation-mode unchecked-hash" \
    && $compile /opt/operator/lib \
    && $compile -x '/(test|tests|idlelib|lib2to3|ensurepip|tkinter|site-packages|dist-packages)/' \
        "$(/opt/operator/bin/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"


FROM ${BASE}

LABEL org.opencontainers.image.title="cnpg-plugin-operator" \
      org.opencontainers.image.description="Deploys, proves and registers CNPG-I plugins for CloudNativePG" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/operator /opt/operator

# PYTHONDONTWRITEBYTECODE: the root file system is read-only. PYTHONUNBUFFERED: log lines appear at once,
# also the last one before a crash. PYTHONOPTIMIZE and PYTHONPYCACHEPREFIX: load what was compiled above. MALLOC_*:
# return freed memory to the node, which saves some MB while the operator is idle.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPYCACHEPREFIX=/opt/operator/bytecode \
    PYTHONOPTIMIZE=2 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_MMAP_THRESHOLD_=65536 \
    MALLOC_TRIM_THRESHOLD_=65536 \
    PATH=/opt/operator/bin:$PATH

# Numeric, because the kubelet cannot verify runAsNonRoot for a user name.
USER 65532:65532
WORKDIR /

EXPOSE 8080
ENTRYPOINT ["/opt/operator/bin/cnpg-plugin-operator"]
CMD ["run"]
