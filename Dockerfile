# syntax=docker/dockerfile:1
#
# The images. Each is a target:
#
#   agent-host         agent-host and nothing else, not even a shell. Put your runners on top, or
#                      take the program out of it (COPY --from).
#   agent-host-python  agent-host beside Python 3 and the stock runner for Rustic AI. Put your agents'
#                      packages on top.
#   agent-host-echo    agent-host with the example agent, for a laptop.
#   guildhall          the operators' command.
#   run-guild          the example app, for docker-compose.yml.
#
#   docker build --target agent-host -t guildhall/agent-host:0.1.0 .
#
# `make image` builds agent-host, agent-host-echo and run-guild without Docker.
#
# Builder and images are all of Debian 12: a program runs with the glibc that it was linked
# against, or a later one. They are not static: the allocator and resolver of musl are
# slower, and none of the tests run with it. No init is needed: as the first process of its
# container agent-host reaps what it inherits and handles SIGTERM.

# --- build -----------------------------------------------------------------------

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The profile is the tests' (Cargo.toml); an image needs no debug information, and a build
# in a container is not continued from the one before by cargo, but by the cache below.
ENV CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_STRIP=debuginfo
COPY . .
# Cargo tells by the files' times what has changed since the cache below was filled, and
# these times are those of somebody's checkout, which may be older: all are new.
RUN find . -type f -exec touch {} +
# What was downloaded and compiled stays in caches of the builder, so a change of one crate
# does not compile wasmtime again. What is to stay in the image is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked -p guildhall-host -p guildhall-cli --features guildhall-host/kubernetes --bin agent-host --bin guildhall \
    && install -D -t /out target/release/agent-host target/release/guildhall

FROM build AS build-examples
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked -p echo-runner --bin echo-runner \
    && cargo build --release --locked -p guildhall-examples --example run_guild \
    && install -D -t /out target/release/echo-runner target/release/examples/run_guild

# --- images ----------------------------------------------------------------------

# Distroless: glibc, libgcc and the authorities for TLS. The user is 65532, in numbers, for
# the kubelet cannot tell of a name whether it is root.
FROM gcr.io/distroless/cc-debian12:nonroot AS guildhall
LABEL org.opencontainers.image.title="guildhall" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/guildhall /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/guildhall"]

FROM gcr.io/distroless/cc-debian12:nonroot AS run-guild
LABEL org.opencontainers.image.title="run-guild" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-examples /out/run_guild /usr/local/bin/
COPY examples/specs /specs
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/run_guild"]

FROM python:3.13-slim-bookworm AS agent-host-python
LABEL org.opencontainers.image.title="agent-host with Python" \
      org.opencontainers.image.licenses="Apache-2.0"
# Agents' output is read line by line as it comes; the root filesystem may be read-only.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
RUN --mount=type=bind,source=runners/python,target=/runner,rw \
    pip install --no-cache-dir --root-user-action=ignore "/runner[redis]"
COPY --from=build /out/agent-host /usr/local/bin/
USER 65532:65532
EXPOSE 50051
ENTRYPOINT ["/usr/local/bin/agent-host"]

FROM gcr.io/distroless/cc-debian12:nonroot AS agent-host-echo
LABEL org.opencontainers.image.title="agent-host with the example agent" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-examples /out/agent-host /out/echo-runner /usr/local/bin/
USER 65532:65532
EXPOSE 50051
ENTRYPOINT ["/usr/local/bin/agent-host"]

# The last, so that it is what is built when no target is named.
FROM gcr.io/distroless/cc-debian12:nonroot AS agent-host
LABEL org.opencontainers.image.title="agent-host" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/agent-host /usr/local/bin/
USER 65532:65532
EXPOSE 50051
ENTRYPOINT ["/usr/local/bin/agent-host"]
