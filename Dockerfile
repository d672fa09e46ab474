# Builds the gateway and puts the one binary on an image with ffmpeg, which transcodes streams with B-frames (the
# default of many encoders) for viewers.
#
#     docker build -t distributary .
#     docker run --rm --network host distributary --demo
#
# Without ffmpeg, on a small image without shell or package manager: --build-arg VARIANT=slim. Viewers of streams with
# B-frames are then sent what their players can show, see docs/players.md.
#
# The base images can be replaced: --build-arg BUILDER=... --build-arg RUNTIME=... --build-arg SLIM=...
ARG BUILDER=docker.io/library/rust:1-bookworm
ARG RUNTIME=docker.io/library/debian:bookworm-slim
ARG SLIM=gcr.io/distroless/cc-debian12
ARG VARIANT=ffmpeg

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# OpenSSL is built from source, which needs perl, make and gcc: all are part of the builder image.
RUN cargo build --release --locked --package distributary-gateway \
    && strip -o /distributary target/release/distributary

FROM ${SLIM} AS runtime-slim

FROM ${RUNTIME} AS runtime-ffmpeg
# The certificates are for HTTPS to webhooks, key sets and SWF files; the slim image has them.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates ffmpeg \
    && rm -rf /var/lib/apt/lists/*

FROM runtime-${VARIANT}
LABEL org.opencontainers.image.title="Distributary" \
      org.opencontainers.image.description="RTMP in, WebRTC (WHEP) out" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /distributary /usr/local/bin/distributary
# No user of the host: the gateway needs no right but to open its ports.
USER 65532:65532
# RTMP, HTTP, WebRTC media, and the admin API, which listens on loopback unless it has a token.
EXPOSE 1935/tcp 8080/tcp 8189/udp 8189/tcp 8180/tcp
# The image has no curl: the gateway asks itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/distributary", "health"]
ENTRYPOINT ["/usr/local/bin/distributary"]
