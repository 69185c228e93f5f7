"""`python -m serving.model.fetch`: the former name of `serving.weights.fetch`."""

import sys

from serving.weights.fetch import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
