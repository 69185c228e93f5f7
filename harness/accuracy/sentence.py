"""A comparison in words, one fact per line. Pure; the terminal table and the report use the same lines."""

from __future__ import annotations

from harness.accuracy.metrics import AccuracyMetrics, meets_bar

REASONS = {
    "failed": "outside the tolerance",
    "nan": "a NaN in it",
    "shape": "another vocabulary size",
    "dtype": "not float32",
    "history": "other tokens before it",
    "missing": "missing from the new folder",
    "extra": "not in the base",
}


def describe(metrics: AccuracyMetrics, bit_exact: bool = False) -> list[str]:
    """What a person wants to know, most important first."""
    requests = f"{metrics.allclose_requests_passed} of {metrics.allclose_requests_total} requests whole"
    tolerance = "" if bit_exact else f" (atol {metrics.allclose_atol:g}, rtol {metrics.allclose_rtol:g})"
    lines = [f"{rows_passed(metrics, bit_exact)}{tolerance}; {requests}"]
    reasons = ((name, getattr(metrics, f"allclose_rows_{name}")) for name in REASONS)
    if wrong := [f"{count} {REASONS[name]}" for name, count in reasons if count]:
        lines.append("not passed: " + ", ".join(wrong))
    if not meets_bar(metrics, 1.0, bit_exact):
        lines.append(first_not_passed(metrics, bit_exact))
    if metrics.max_abs_diff is not None:
        lines.append(worst_case(metrics))
    if metrics.top1_agreement is not None and metrics.top5_agreement is not None:
        kl = f", KL divergence up to {metrics.kl_max:.3g}" if metrics.kl_max is not None else ""
        lines.append(
            f"same top token {percent(metrics.top1_agreement)}, top five {percent(metrics.top5_agreement)}{kl}"
        )
    if metrics.first_divergent_prompt_id is not None:
        where = f"prompt {metrics.first_divergent_prompt_id}, position {metrics.first_divergent_position}"
        lines.append(f"first other token: after {where}")
    if metrics.text_match_rate is not None and metrics.token_match_rate is not None:
        tokens = f"{percent(metrics.token_match_rate)} of the tokens"
        lines.append(f"running freely, the same text in {percent(metrics.text_match_rate)} of the requests, {tokens}")
    return lines


def worst_case(metrics: AccuracyMetrics) -> str:
    """The largest difference and where it is."""
    if metrics.max_abs_diff is None:
        return "no row compared"
    ulp = f" ({metrics.worst_ulp_diff:.0f} ulp)" if metrics.worst_ulp_diff is not None else ""
    where = f"prompt {metrics.worst_prompt_id}, position {metrics.worst_position}, token {metrics.worst_token_id}"
    return f"largest difference {metrics.max_abs_diff:.3g}{ulp} at {where}"


def first_not_passed(metrics: AccuracyMetrics, bit_exact: bool = False) -> str:
    """The first row that did not pass, and why."""
    if bit_exact and metrics.first_unequal_prompt_id is not None:
        where = f"prompt {metrics.first_unequal_prompt_id}, position {metrics.first_unequal_position}"
        return f"first not equal bit for bit: {where}"
    if metrics.first_failed_reason is None:
        return "every row within the tolerance"
    where = f"prompt {metrics.first_failed_prompt_id}, position {metrics.first_failed_position}"
    return f"first not passed: {where}: {REASONS[metrics.first_failed_reason]}"


def rows_passed(metrics: AccuracyMetrics, bit_exact: bool) -> str:
    """How many rows of how many."""
    total = metrics.allclose_rows_total
    if bit_exact:
        return f"{round(metrics.bit_equal_rate * total)} of {total} rows equal bit for bit"
    return f"{metrics.allclose_rows_passed} of {total} rows all-close"


def percent(share: float) -> str:
    """A share for people; one just below 1 is never shown as 100 %."""
    return "100 %" if share == 1 else f"{min(share, 0.9999):.2%}".replace("%", " %")
