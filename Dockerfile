# The operator's image: packages from the lock, on a root file system of what Python needs and no more: no
# shell, no package manager, no pip.
#
# BASE must contain `python3` 3.11 or newer with its venv module, on Debian. The official slim image does,
# and so does a Debian with python3 and python3-venv. BASE has no default, because a tag refers to another
# image every week: pass it with its digest, as docs/install/index.md shows.
ARG BASE

# The root file system that the image takes Python from: BASE, if not another one with the same version of
# Python. Nothing of it runs, so it may be of another platform, then with TARGETARCH: no build needs an emulator.
ARG TARGET=${BASE}

FROM ${TARGET} AS target

FROM ${BASE} AS build

# An image from a registry needs a digest; an image of this machine does not.
ARG BASE
ARG TARGET=${BASE}
RUN for image in "${BASE}" "${TARGET}"; do \
        case "${image}" in \
            localhost/*|*@sha256:*) ;; \
            *) echo "${image} has no digest: write ${image}@sha256:..." >&2; exit 1 ;; \
        esac; \
    done

# You choose where pip looks for packages: with these arguments (all unset by default), or with a
# pip.conf mounted at /etc/pip.conf.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT

# One timestamp for all built files and one order of all sets, so that the build is reproducible.
ARG SOURCE_DATE_EPOCH=315532800
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    PYTHONHASHSEED=0 \
    PIP_NO_COMPILE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1

# pip has its own environment, so that the image contains no pip.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/operator

# Packages with compiled code are those of the image's platform, for any glibc that is not newer than
# Debian 13's.
ARG TARGETARCH
WORKDIR /src
COPY requirements.lock ./
RUN case "${TARGETARCH}" in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; \
        *) echo "TARGETARCH=${TARGETARCH} is neither amd64 nor arm64" >&2; exit 1 ;; esac \
    && version="$(python3 -c 'import sys; print("%d%d" % sys.version_info[:2])')" \
    && platforms="$(for minor in $(seq 41 -1 17); do echo "--platform manylinux_2_${minor}_${machine}"; done)" \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements.lock \
        ${platforms} --platform "manylinux2014_${machine}" --implementation cp --python-version "${version}" \
        --abi "cp${version}" --abi abi3 --abi none --target /opt/operator/lib/python3*/site-packages

# The build requirements are locked, too; an isolated build would download them without hashes.
COPY requirements-build.lock ./
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock

COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/operator/bin/python install --no-deps --no-index /wheels/*.whl

# Not needed at run time: type stubs, headers, the commands of libraries, and of the Kubernetes client all but
# the connection: the operator asks for objects as JSON, not as the client's 1,500 classes.
RUN packages="$(echo /opt/operator/lib/python3*/site-packages)" \
    && find /opt/operator -depth \( -name __pycache__ -o -name '*.pyi' \) -exec rm -rf {} + \
    && find /opt/operator/bin -type f ! -name cnpg-plugin-operator -delete \
    && rm -rf /opt/operator/include "${packages}/bin" \
    && cd "${packages}/kubernetes" \
    && find . -mindepth 1 -maxdepth 1 ! -name __init__.py ! -name aio -exec rm -rf {} + \
    && rm -rf aio/client/api aio/dynamic aio/leaderelection aio/stream aio/watch \
    && find aio/client/models -type f ! -name __init__.py -delete

COPY config/image/root_file_system.py ./
RUN --mount=type=bind,from=target,source=/,target=/target mkdir /root-file-system \
    && python3 root_file_system.py /target /root-file-system /opt/operator/lib/python3*/site-packages

# The root file system is read-only at run time, so compile the bytecode now, also that of the standard library.
# It is compiled without docstrings (PYTHONOPTIMIZE), which take 3 MB of memory. Its validity does not depend on
# file times (unchecked hashes), because these differ between two builds; one process compiles all of it, because
# what it writes depends on what it has compiled before.
ENV PYTHONPYCACHEPREFIX=/opt/operator/bytecode
RUN compile="/opt/build/bin/python -m compileall -q -o 2 --invalidation-mode unchecked-hash" \
    && $compile /opt/operator/lib \
    && $compile -s /root-file-system -p / /root-file-system/usr \
    && mv /opt/operator/bytecode/root-file-system/usr /opt/operator/bytecode/ \
    && rmdir /opt/operator/bytecode/root-file-system


FROM scratch

LABEL org.opencontainers.image.title="cnpg-plugin-operator" \
      org.opencontainers.image.description="Deploys, proves and registers CNPG-I plugins for CloudNativePG" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /root-file-system /
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
    LANG=C.UTF-8 \
    PATH=/opt/operator/bin:/usr/local/bin:/usr/bin

# Numeric, because the kubelet cannot verify runAsNonRoot for a user name.
USER 65532:65532
WORKDIR /

EXPOSE 8080
ENTRYPOINT ["/opt/operator/bin/cnpg-plugin-operator"]
CMD ["run"]
