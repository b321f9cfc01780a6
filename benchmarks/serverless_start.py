"""Cold start and package size of the serverless handler, measured on this machine.

A fresh process imports the handler, opens the bundle and answers an event of API Gateway; five times. Size:
the environment that runs it (give the serving one: the package's own dependencies and mangum) and the bundle.

    python benchmarks/serverless_start.py BUNDLE [PYTHON]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
CODE = """
import json, time
began = time.perf_counter(); cpu = time.process_time()
import handler
opened = time.perf_counter() - began
event = {"version": "2.0", "routeKey": "$default", "rawPath": "/v1/diagnose", "rawQueryString": "",
         "headers": {"content-type": "application/json", "host": "api"},
         "requestContext": {"http": {"method": "POST", "path": "/v1/diagnose", "sourceIp": "192.0.2.1"},
                            "stage": "$default"},
         "body": json.dumps({"observed": ["HP:0001166", "HP:0001083"], "top": 3}), "isBase64Encoded": False}
asked = time.perf_counter(); answer = handler.handler(event, None); first = time.perf_counter() - asked
asked = time.perf_counter(); handler.handler(event, None); second = time.perf_counter() - asked
print(json.dumps({"status": answer["statusCode"], "opened": opened, "first": first, "second": second,
                  "cpu": time.process_time() - cpu}))
"""


def main(bundle: Path, python: str) -> None:
    seen = []
    with tempfile.TemporaryDirectory() as home:
        variables = {
            "MEDASSETS_HOME": home, "MEDASSETS_AUTH": "off", "MEDASSETS_BUNDLE_DIR": str(bundle.resolve()),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "deployment" / "serverless")]),
            "MEDASSETS_BUNDLE_KEYS": str(bundle.resolve().parents[1] / "secrets" / "bundle-keys"),
        }  # fmt: skip
        for _ in range(5):
            done = subprocess.run(
                [python, "-c", CODE], env=os.environ | variables, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            seen.append(json.loads(done.stdout.splitlines()[-1]))
    if any(one["status"] != 200 for one in seen):
        sys.exit(f"not answered: {seen[0]['status']}")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(
        subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    )
    for name, text in (("opened", "import and open the bundle"), ("first", "first answer"),
                       ("second", "next answer"), ("cpu", "processor time of all")):  # fmt: skip
        values = sorted(one[name] for one in seen)
        print(
            f"{text}: median {median(values):.2f} s ({values[0]:.2f} to {values[-1]:.2f}, n = {len(values)})"
        )
    print(f"packages {megabytes(packages):.0f} MB, bundle {megabytes(bundle):.0f} MB, unpacked")


def megabytes(folder: Path) -> float:
    """Size of the files of a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else sys.executable)
