"""The commands that people type: the only room that knows the harness and serving both."""
