"""`python -m serving.doctor`: see cli/doctor.py, which knows how configurations are composed."""

import sys

from cli.doctor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
