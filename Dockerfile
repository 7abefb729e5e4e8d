FROM python:3.12-slim

WORKDIR /app
COPY . /app
RUN pip install --no-cache-dir .

RUN useradd --create-home --uid 10001 projectionist && mkdir -p /home/projectionist/data \
    && chown projectionist /home/projectionist/data
USER projectionist
WORKDIR /home/projectionist
ENV PROJECTIONIST_HOME=/home/projectionist/data PROJECTIONIST_HOST=0.0.0.0 PYTHONUNBUFFERED=1
VOLUME /home/projectionist/data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/healthz', timeout=4)"]
CMD ["projectionist", "serve"]
