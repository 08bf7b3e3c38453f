from pathlib import Path

WEB_HOST, WEB_PORT = "0.0.0.0", 8080
WORKERS = 4
WORKER_TIMEOUT = 120
ACCESS_LOG = "-"
PID_FILE = Path("run") / "webserver.pid"


def forget(pid):
    pass
