"""Charts with their words, as the HTML that reports and notebooks show."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from harness.charts.palette import css


@dataclass
class Figure:
    """One chart with its words. `legend`: name and colour of each series."""

    title: str
    svg: str
    note: str = ""
    legend: list[tuple[str, str]] = field(default_factory=list)
    wide: bool = False

    def __html__(self) -> str:
        note = f" – {escape(self.note)}" if self.note else ""
        names = "".join(
            f'<span><i style="background:var(--{hue})"></i>{escape(name)}</span>' for name, hue in self.legend
        )
        legend = f'<div class="legend">{names}</div>' if names else ""
        caption = f"<figcaption><b>{escape(self.title)}</b>{note}{legend}</figcaption>"
        opening = '<figure class="wide">' if self.wide else "<figure>"
        return f"{opening}{caption}{self.svg}</figure>"


class Figures(list[Figure]):
    """Charts side by side, as many as there is room for. A template inserts them as they are; a notebook shows them."""

    def __html__(self) -> str:
        return f'<div class="figures">{"".join(figure.__html__() for figure in self)}</div>' if self else ""

    def _repr_html_(self) -> str:
        return f"<style>{css()}</style>{self.__html__()}"
