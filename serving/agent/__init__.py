"""The agent: one process per device that runs forward passes and samples. Knows no queue and no HTTP."""
