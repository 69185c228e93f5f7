"""What the engine costs, measured from outside: `make bench-engine` and `make soak`. Knows no scheduler and no model.

It drives the real processes over HTTP with a client of its own rather than the harness's: serving may not import the
harness, and on two cores a client that parses no more than the contest's does leaves the cores to what is measured.
"""
