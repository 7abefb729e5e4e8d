"""Django's test client in a process of its own, since a process has one Django: `python django_client.py FOLDER URL`.

Each line of input is a JSON list of requests, [method, path, body, headers], which are made at the same moment, each in
its thread; each line of output is the list of their answers, [status, body].
"""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main(folder: str, url: str) -> None:
    os.environ["SHOP_URL"] = url
    sys.path.insert(0, folder)
    import django_app  # type: ignore[import-not-found]
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    call_command("migrate", run_syncdb=True, verbosity=0)

    def ask(barrier: threading.Barrier, request: Any) -> tuple[int, Any]:
        method, path, body, headers = request
        barrier.wait()
        try:
            data = "" if body is None else json.dumps(body)
            answer = Client().generic(method, path, data, content_type="application/json", headers=headers)
            return answer.status_code, answer.json()
        finally:
            connection.close()

    for line in sys.stdin:
        requests = json.loads(line)
        barrier = threading.Barrier(len(requests))
        with ThreadPoolExecutor(len(requests)) as threads:
            print(json.dumps(list(threads.map(lambda one, at=barrier: ask(at, one), requests))), flush=True)
    connection.close()
    django_app.store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
