"""Hydra configuration: YAML groups, their typed schema, and errors a person can act on."""
