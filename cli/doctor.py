"""What this machine has and lacks for a configuration: `python -m serving.doctor [--json] [OVERRIDES]`.

    python -m serving.doctor                                       for the default: SmolLM2 on the CPU
    python -m serving.doctor device=ascend_910b4 model=llama2_7b   any override that launch.py takes
    python -m serving.doctor --json                                for machines

Exit status: 0 = nothing is missing; 1 = something is; 2 = the configuration is wrong. Loads no model, starts nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cli.compose import ConfigError, compose_config
from cli.configs import stack_config
from cli.job import EXIT_BAD_INPUT
from serving.doctor.check_machine import unset_files
from serving.doctor.examine import examine
from serving.validate import problems

EXIT_MISSING = 1


def main(arguments: list[str]) -> int:
    """Exit status as in the module's docstring."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    if {"-h", "--help"} & set(flags):
        print(__doc__)
        return 0
    try:
        if unknown := [flag for flag in flags if flag != "--json"]:
            raise ConfigError(f"{unknown[0]}: no such option; known: --json, --help")
        config = compose_config([argument for argument in arguments if argument not in flags])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    stack = stack_config(config, Path.cwd())
    # A model that is not there yet is a finding: the machine can be looked at all the same.
    wrong = [line for line in problems(stack) if line not in unset_files(stack)]
    if wrong:
        print("error: " + "\nerror: ".join(wrong), file=sys.stderr)
        return EXIT_BAD_INPUT
    report = examine(stack, Path(config.outputs_dir))
    print(json.dumps(report.as_json(), indent=1) if "--json" in flags else report.text())
    return 0 if report.passed else EXIT_MISSING
