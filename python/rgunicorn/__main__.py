"""`python -m rgunicorn` is the program `rgunicorn` of the same environment."""

import os
import sys
import sysconfig


def main():
    # A user installation keeps its programs elsewhere than the interpreter's own.
    schemes = [sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")]
    programs = [os.path.join(sysconfig.get_path("scripts", scheme), "rgunicorn") for scheme in schemes]
    for program in filter(os.path.exists, programs):
        os.execv(program, [program, *sys.argv[1:]])
    sys.exit(f"rgunicorn is not installed beside {sys.executable}")


if __name__ == "__main__":
    main()
