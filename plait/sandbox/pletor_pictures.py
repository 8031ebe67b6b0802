"""The pictures and texts that the Pletor stand-in makes: by rules from the inputs, no model involved."""

import colorsys
import random
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 960, 640
_MARGIN: Final = 64
_SIZES: Final = (72, 60, 48, 40, 32, 26)
_THUMBNAIL: Final = (220, 160)
_LONGEST: Final = 200

Colour = tuple[int, int, int]


def draw_picture(path: Path, *, title: str, note: str, seed: int, pasted: Sequence[Path] = ()) -> None:
    """Write a PNG with the title in it; `seed` decides colours and shapes, `pasted` pictures are shown small.

    Blocking.
    """
    rng = random.Random(seed)  # noqa: S311 - colours are no secret
    hue = rng.random()
    picture = _background(_colour(hue, 0.55, 0.30), _colour(hue + 0.12, 0.65, 0.62))
    canvas = ImageDraw.Draw(picture, "RGBA")
    for _ in range(7):
        x, y, radius = rng.randrange(WIDTH), rng.randrange(HEIGHT), rng.randrange(60, 240)
        tint = (*_colour(hue + rng.uniform(0.3, 0.7), 0.6, 0.9), 60)
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tint)
    _write_title(canvas, " ".join(title.split())[:_LONGEST] or "Untitled")
    canvas.text((_MARGIN, HEIGHT - 56), note, font=ImageFont.load_default(20), fill=(255, 255, 255, 210))
    _paste(picture, pasted)
    unfinished = path.with_name(f"{path.name}.part")
    picture.save(unfinished, format="PNG", optimize=False)
    unfinished.replace(path)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(top: Colour, bottom: Colour) -> Image.Image:
    column = Image.new("RGB", (1, 2))
    column.putpixel((0, 0), top)
    column.putpixel((0, 1), bottom)
    return column.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)


def _write_title(canvas: ImageDraw.ImageDraw, title: str) -> None:
    """As large as fits, with a shadow so that it can be read on any colour."""
    for size in _SIZES:
        font = ImageFont.load_default(size)
        text = textwrap.fill(title, width=max(8, int((WIDTH - 2 * _MARGIN) / (size * 0.56))))
        box = canvas.multiline_textbbox((0, 0), text, font=font, spacing=10)
        if box[2] <= WIDTH - 2 * _MARGIN and box[3] <= HEIGHT * 0.6:
            break
    canvas.multiline_text((_MARGIN + 3, _MARGIN + 3), text, font=font, fill=(0, 0, 0, 190), spacing=10)
    canvas.multiline_text((_MARGIN, _MARGIN), text, font=font, fill=(255, 255, 255, 255), spacing=10)


def _paste(picture: Image.Image, paths: Sequence[Path]) -> None:
    """Small, along the lower edge; what is no picture is left out."""
    left = _MARGIN
    for path in paths[:3]:
        try:
            with Image.open(path) as opened:
                small = opened.convert("RGB")
        except OSError:
            continue
        small.thumbnail(_THUMBNAIL)
        picture.paste(small, (left, HEIGHT - 80 - small.height))
        left += small.width + 20


def compose(*, title: str, style: str, turn: int) -> str:
    """A caption for a title."""
    openings = ("Meet", "Introducing", "Here comes", "Say hello to")
    mood = f", {style}" if style else ""
    return f"{openings[turn % len(openings)]} {title}{mood}: made for the people who care about it."
