# The processor. The site's own files are mounted, nothing of them is in the image.

FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/autorthanc-spool \
    && /opt/autorthanc-spool/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.13-slim-bookworm
COPY --from=build /opt/autorthanc-spool /opt/autorthanc-spool
ENV PATH=/opt/autorthanc-spool/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /site
USER 1000:1000
ENTRYPOINT ["autorthanc-spool"]
CMD ["run"]
