# The builder base with cargo-chef, made by `cargo xtask bench build` where no registry has one.
ARG RUST_BASE=rust:1.95-slim-trixie
FROM ${RUST_BASE}
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca; fi; \
    cargo install --locked --version 0.1.78 --root /usr/local cargo-chef
