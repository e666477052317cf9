#!/usr/bin/python3
"""Ask Orthanc for its last change, with the first registered user; exit with 0 when it answers."""

import base64
import json
import urllib.request
from pathlib import Path

configuration = json.loads(Path("/tmp/orthanc.json").read_text())
user, password = next(iter(configuration["RegisteredUsers"].items()))
token = base64.b64encode(f"{user}:{password}".encode()).decode()
request = urllib.request.Request(
    f"http://localhost:{configuration.get('HttpPort', 8042)}/changes?last", headers={"Authorization": f"Basic {token}"}
)
urllib.request.urlopen(request, timeout=5).read()
