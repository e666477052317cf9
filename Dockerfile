# The processor, from the wheel that `autorthanc-spool init` lays into dist/; in a checkout `make wheel` makes it.
# The site's own files are mounted, nothing of them is in the image.

FROM python:3.13-slim-bookworm AS build
COPY constraints.txt dist/autorthanc_spool-0.1.0-py3-none-any.whl /dist/
RUN python -m venv /opt/autorthanc-spool \
    && /opt/autorthanc-spool/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement /dist/constraints.txt \
    && /opt/autorthanc-spool/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /dist/autorthanc_spool-0.1.0-py3-none-any.whl

FROM python:3.13-slim-bookworm
COPY --from=build /opt/autorthanc-spool /opt/autorthanc-spool
# Never a module of the site's: Python doesn't look into the working directory.
ENV PATH=/opt/autorthanc-spool/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /site
USER 1000:1000
ENTRYPOINT ["autorthanc-spool"]
CMD ["run"]
