"""The load generator, the measurements and the verdict. It knows the server by HTTP only."""
