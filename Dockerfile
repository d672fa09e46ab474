# Builds the gateway and puts the one binary on an image. There are two variants:
#
#     docker build -t distributary .
#         the gateway alone, without shell and package manager: viewers of streams with B-frames (the default of many
#         encoders) get the frames that their players can show, see docs/players.md
#     docker build --build-arg VARIANT=ffmpeg -t distributary:ffmpeg .
#         with ffmpeg, which transcodes streams that viewers cannot decode
#
#     docker run --rm --network host distributary --demo
#
# `cargo xtask dist --images docker` builds both, as distributary:VERSION and distributary:VERSION-ffmpeg. Configuration,
# certificates and published ports: docs/docker.md.
#
# The base images can be replaced: --build-arg BUILDER=... --build-arg RUNTIME=... --build-arg SMALL=...
ARG BUILDER=docker.io/library/rust:1-bookworm
ARG RUNTIME=docker.io/library/debian:bookworm-slim
ARG SMALL=gcr.io/distroless/cc-debian12
ARG VARIANT=small

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# OpenSSL is built from source, which needs perl, make and gcc: all are part of the builder image.
RUN cargo build --release --locked --package distributary-gateway \
    && strip -o /distributary target/release/distributary \
    && cargo run --quiet --locked --package xtask -- third-party /THIRD-PARTY

FROM ${SMALL} AS runtime-small

FROM ${RUNTIME} AS runtime-ffmpeg
# The certificates are for HTTPS to webhooks, key sets and SWF files; the small image has them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates ffmpeg \
    && rm -rf /var/lib/apt/lists/*

# hadolint ignore=DL3006
FROM runtime-${VARIANT}
LABEL org.opencontainers.image.title="Distributary" \
      org.opencontainers.image.description="RTMP in, WebRTC (WHEP) out" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /distributary /usr/local/bin/distributary
# The licenses of the libraries in the program.
COPY --from=build /THIRD-PARTY /usr/share/doc/distributary/THIRD-PARTY
# No user of the host: the gateway needs no right but to open its ports.
USER 65532:65532
# RTMP, HTTP, WebRTC media, RTMPS and HTTPS where they are configured, and the admin API, which listens on loopback
# unless it has a token.
EXPOSE 1935/tcp 8080/tcp 8189/udp 8189/tcp 1936/tcp 8443/tcp 8180/tcp
# The image has no curl: the gateway asks itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/distributary", "health"]
ENTRYPOINT ["/usr/local/bin/distributary"]
