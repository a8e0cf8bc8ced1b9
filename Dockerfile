# The controller: `docker build --tag registry.example.com/shopset:0.1.0 .`
# Everything is pinned by requirements/*.txt (with hashes) and tools/kustomize/go.sum.

FROM golang:1.25-bookworm AS kustomize
WORKDIR /src
COPY tools/kustomize/go.mod tools/kustomize/go.sum ./
RUN CGO_ENABLED=0 go build -mod=readonly -ldflags="-s -w" -o /out/ tool

FROM python:3.11-slim-bookworm AS wheels
WORKDIR /src
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m venv /opt/shopset \
    && /opt/shopset/bin/pip install --no-cache-dir --require-hashes --requirement requirements/runtime.txt \
    && pip install --no-cache-dir --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /out . \
    && /opt/shopset/bin/pip install --no-cache-dir --no-deps /out/*.whl

# The edge: `docker build --target edge --tag registry.example.com/shopset-edge:0.1.0 .`, both for HAProxy and for its agent.
FROM python:3.11-slim-bookworm AS edge
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git haproxy openssh-client \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheels /opt/shopset /opt/shopset
ENV PATH=/opt/shopset/bin:/usr/sbin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["shopset-edge"]
CMD ["run"]

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client \
    && rm -rf /var/lib/apt/lists/*
COPY --from=kustomize /out/kustomize /usr/local/bin/kustomize
COPY --from=wheels /opt/shopset /opt/shopset
ENV PATH=/opt/shopset/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["shopset-controller"]
CMD ["run"]
