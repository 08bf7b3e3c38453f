"""Everything the bench needs, made by itself: a virtualenv with the peers, wrk, and our own release build."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCHES = ROOT / "benches"
APPS = BENCHES / "apps"
TARGET = ROOT / "target"
# Of the Python that runs the bench, so that another one can be measured by running it.
VENV = TARGET / f"bench-venv-{sys.version_info[0]}.{sys.version_info[1]}"
PYTHON = VENV / "bin" / "python"

# Each alone, so that one that does not build costs only itself. bjoern needs libev's headers, Gunicorn's gevent worker
# the package packaging.
PACKAGES = [
    "gunicorn>=27.0.1", "packaging", "gevent", "eventlet", "granian", "flask", "django", "fastwsgi", "bjoern", "uwsgi", "uvicorn",
    "uvloop", "httptools", "websockets", "wsproto", "fastapi",
]


def prepare(build=True):
    # Inherited by the servers: ten thousand connections are ten thousand files.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if not VENV.exists():
        run([sys.executable, "-m", "venv", str(VENV)])
    if not shutil.which("wrk"):
        install_from_debian("wrk")
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: install it (Debian: apt-get install wrk)")
    for package in PACKAGES:
        install(package)
    if build:
        run(["cargo", "build", "--release", "--lib", "--bins", "--examples"], cwd=ROOT)


def install(package):
    name = package.partition(">")[0]
    marker = VENV / f".{name}"
    if marker.exists():
        return
    if name == "bjoern" and not Path("/usr/include/ev.h").exists():
        install_from_debian("libev-dev")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    if subprocess.run(pip, timeout=900).returncode == 0:
        marker.touch()
    else:
        print(f"{name} does not install here: its rows stay empty", file=sys.stderr)


def install_from_debian(package):
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 600}
        subprocess.run(["apt-get", "update"], **quiet)
        subprocess.run(["apt-get", "install", "--yes", package], **quiet)


def describe():
    """What was measured on what."""
    freeze = [str(PYTHON), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    versions = dict(line.split("==") for line in subprocess.check_output(freeze, text=True).splitlines())
    versions = {name.lower(): version for name, version in versions.items()}
    names = [package.partition(">")[0] for package in PACKAGES]
    peers = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    python = subprocess.check_output([str(PYTHON), "--version"], text=True).strip()
    return f"""\
{python}, {len(os.sched_getaffinity(0))} processors, Linux {os.uname().release}; {peers}.
One worker: server and wrk on a processor each. Several: all share all. Access logs are off, except in access-log and everything."""


def installed(name):
    return (VENV / f".{name}").exists()


def run(command, **options):
    subprocess.run(command, check=True, timeout=1800, **options)
