"""Where the templates and static files are, in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path

package_dir = Path(__file__).parent


def asset_dir(name: str) -> Path:
    """The folder `templates` or `static`: inside the package in a wheel, beside the package in a checkout."""
    inside = package_dir / name
    return inside if inside.is_dir() else package_dir.parent / name
