"""The colours of the style sheet: text stands out from what it stands on, in both themes."""

from __future__ import annotations

import colorsys
import re
from itertools import product

import pytest

from webapp.assets import asset_dir

_sheet = (asset_dir("static") / "app.css").read_text()
_tokens = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", _sheet)
}
_texts = ("ink", "muted", "accent", "good", "warn", "bad")
_grounds = ("paper", "surface", "sunken", "accent-soft", "good-soft", "warn-soft", "bad-soft")
_hues = sorted({int(hue) for hue in re.findall(r"\.h\d+ \{ --h: (\d+) \}", _sheet)})


def contrast(one: str, other: str) -> float:
    """How much two colours differ by WCAG 2.2, from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_every_ground(theme: str) -> None:
    pairs = [*product(_texts, _grounds), ("on-accent", "accent")]
    faint = {pair: contrast(*(_tokens[name][theme] for name in pair)) for pair in pairs}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}


@pytest.mark.parametrize(("theme", "lightness"), [("light", 0.30), ("dark", 0.70)])
def test_the_hues_of_event_types_stand_out_from_every_ground(theme: str, lightness: float) -> None:
    assert f"hsl(var(--h, 190) 55% {lightness:.0%})" in _sheet, "the style sheet and this test say the same"
    assert len(_hues) == 12
    for hue, ground in product(_hues, ("paper", "surface", "sunken", "accent-soft")):
        red, green, blue = (round(part * 255) for part in colorsys.hls_to_rgb(hue / 360, lightness, 0.55))
        assert contrast(f"#{red:02x}{green:02x}{blue:02x}", _tokens[ground][theme]) >= 4.5, (hue, ground)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_edges_of_fields_and_buttons_can_be_seen(theme: str) -> None:
    for ground in ("paper", "surface"):
        assert contrast(_tokens["edge"][theme], _tokens[ground][theme]) >= 3
