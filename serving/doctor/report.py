"""The doctor's findings together: the verdict, the text for people, the document for machines. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from serving.doctor.finding import Finding, Status

FORMAT = 1
NOT_VERIFIED = "checks of NPU, driver and CANN are not verified on device"


@dataclass(frozen=True)
class Report:
    """Every finding for one configuration."""

    model: str
    device: str
    target: str  # CPU or Ascend
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        """Whether nothing is missing; warnings do not count."""
        return not self.count(Status.missing)

    def count(self, status: Status) -> int:
        """How many findings have this status."""
        return sum(finding.status is status for finding in self.findings)

    def text(self) -> str:
        """One line per finding, below it how to mend it, and a last line with the verdict."""
        width = max(len(finding.name) for finding in self.findings)
        lines = [f"{self.model} on {self.device} ({self.target})"]
        if self.target == "Ascend":
            lines.append(f"note: {NOT_VERIFIED}")
        for finding in self.findings:
            lines.append(f"{finding.status.value:<8} {finding.name:<{width}}  {finding.found}")
            if finding.mend:
                lines.append(f"{'':<8} {'':<{width}}  → {finding.mend}")
        counts = ", ".join(f"{self.count(status)} {status.value}" for status in Status)
        lines.append(f"{'ready' if self.passed else 'not ready'}: {counts}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All of it, for --json and for the acceptance file."""
        return {
            "format": FORMAT,
            "model": self.model,
            "device": self.device,
            "target": self.target,
            "passed": self.passed,
            "note": NOT_VERIFIED if self.target == "Ascend" else "",
            "findings": [{**asdict(finding), "status": finding.status.value} for finding in self.findings],
        }
