# The usual cargo-chef Dockerfile, one per service, to be measured beside this repository's own: `cargo xtask bench build`.
# CHEF_BASE is the builder base with cargo-chef in it, which projects pull ready-made; its making is not timed.
ARG CHEF_BASE
FROM ${CHEF_BASE} AS chef
WORKDIR /app

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
ARG PACKAGE
COPY --from=planner /app/recipe.json recipe.json
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca; fi; \
    cargo chef cook --release --recipe-path recipe.json -p ${PACKAGE}
COPY . .
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca; fi; \
    cargo build --release --locked -p ${PACKAGE} && cp target/release/${PACKAGE} /program

FROM scratch
COPY --from=builder /program /program
ENTRYPOINT ["/program"]
