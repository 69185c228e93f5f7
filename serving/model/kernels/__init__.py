"""C++ kernels of the CPU's layers: sources (this folder), how they are built (build.py), called (operators.py)."""
