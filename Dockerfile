# Portolan in a small image that runs the demo unless told otherwise:
#
#   docker build -t portolan . && docker run --rm -p 8080:8080 portolan
#
# A test follows these lines in an empty folder (scripts/dockerfile-steps); it knows FROM, ARG, WORKDIR, COPY and RUN in
# their plain forms and refuses the others.

FROM rust:1.95-slim-bookworm AS build
ARG PROFILE=release
WORKDIR /portolan

# What the build needs changes seldom: its layer outlives most changes of the sources.
COPY scripts scripts
RUN scripts/install build

COPY Cargo.toml Cargo.lock ./
COPY actors actors
COPY config config
COPY examples examples
COPY fuzz fuzz
COPY identity identity
COPY loadtest loadtest
COPY protocols protocols
COPY src src
COPY tests tests
RUN cp "$(scripts/build)" portolan
# Backtraces keep their names and lose their line numbers; the image loses most of its size.
RUN strip --strip-debug portolan

FROM debian:bookworm-slim
COPY --from=build /portolan/portolan /usr/local/bin/portolan
# By number, so that a cluster that refuses root can tell without reading /etc/passwd.
USER 65532:65532
EXPOSE 8080
# Asks the admin port, which the demo keeps on the container's loopback; the image has bash, and no curl.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9901 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && grep -q '^HTTP/1.1 200' <&3"]
ENTRYPOINT ["portolan"]
CMD ["demo", "--listen", "0.0.0.0:8080", "--admin", "127.0.0.1:9901"]
