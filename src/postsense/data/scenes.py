"""Small drawn pictures of a place in fair or foul weather."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Weather = Literal["fair", "foul"]
Place = Literal["beach", "park", "harbor", "market"]
Thing = Literal["tree", "house", "person", "boat"]
Color = tuple[int, int, int]

WEATHERS: tuple[Weather, ...] = get_args(Weather)
THINGS_AT: dict[Place, tuple[Thing, ...]] = {
    "beach": ("person", "boat", "house"),
    "park": ("tree", "person", "house"),
    "harbor": ("boat",),
    "market": ("house", "tree", "person"),
}

_SKIES: dict[Weather, tuple[Color, Color]] = {  # above, at the horizon
    "fair": ((60, 140, 235), (185, 222, 250)),
    "foul": ((48, 52, 62), (112, 116, 124)),
}
_GROUNDS: dict[Place, Color] = {
    "beach": (226, 200, 140),
    "park": (96, 160, 70),
    "harbor": (60, 120, 160),
    "market": (150, 140, 134),
}
_FOG: Color = (168, 160, 152)
_COATS: tuple[Color, ...] = ((190, 50, 50), (40, 90, 170), (230, 190, 60), (60, 130, 90))


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Where not visible, fog hides the weather and nothing else."""

    weather: Weather
    place: Place
    thing: Thing
    is_visible: bool = True


def draw_scene(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Draw a scene; size, positions, colors, grain and mirroring vary with rng and mean nothing.

    Returns: RGB, 96 to 160 pixels a side.
    """
    width, height = (int(side) for side in rng.integers(96, 161, size=2))
    horizon = int(height * rng.uniform(0.5, 0.7))
    image = _draw_sky(scene, width, height, rng)
    draw = ImageDraw.Draw(image)
    if scene.is_visible and scene.weather == "fair":
        _draw_sun(draw, width, horizon, rng)
    if scene.is_visible:
        _draw_clouds(draw, scene.weather, width, horizon, rng)
    ground = _shade(_vary(_GROUNDS[scene.place], rng), _light(scene))
    draw.rectangle((0, horizon, width, height), fill=ground)
    _draw_thing(draw, scene, (int(width * rng.uniform(0.2, 0.8)), horizon), rng)
    if scene.is_visible and scene.weather == "foul":
        _draw_storm(draw, width, height, rng)
    if not scene.is_visible:
        fog = Image.new("RGB", image.size, _vary(_FOG, rng))
        image = Image.blend(image, fog, 0.5).filter(ImageFilter.GaussianBlur(1.5))
    return _develop(image, rng)


def _draw_sky(scene: Scene, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    above, below = _SKIES[scene.weather] if scene.is_visible else (_FOG, _FOG)
    rows = np.linspace(_vary(above, rng), _vary(below, rng), height)  # (H, 3)
    return Image.fromarray(np.repeat(rows[:, None], width, axis=1).astype(np.uint8))


def _draw_sun(
    draw: ImageDraw.ImageDraw, width: int, horizon: int, rng: np.random.Generator
) -> None:
    x, y, radius = rng.uniform((0.15, 0.2, 0.09), (0.85, 0.4, 0.14)) * (width, horizon, width)
    for angle in np.arange(0, 2 * np.pi, np.pi / 6) + rng.uniform(0, 1):
        tip = (x + 1.8 * radius * np.cos(angle), y + 1.8 * radius * np.sin(angle))
        draw.line((x, y, *tip), fill=(255, 225, 110), width=2)
    _draw_disk(draw, x, y, radius, _vary((255, 215, 50), rng))


def _draw_clouds(
    draw: ImageDraw.ImageDraw, weather: Weather, width: int, horizon: int, rng: np.random.Generator
) -> None:
    count = rng.integers(0, 3) if weather == "fair" else rng.integers(4, 7)
    color: Color = (250, 250, 252) if weather == "fair" else (70, 73, 82)
    for _ in range(int(count)):
        x, y = rng.uniform(0, width), rng.uniform(0.05, 0.4) * horizon
        radius, fill = width * rng.uniform(0.05, 0.1), _vary(color, rng, 12)
        for shift, size in ((-1.2, 0.8), (0.0, 1.2), (1.2, 0.9)):
            _draw_disk(draw, x + shift * radius, y, size * radius, fill)


def _draw_storm(
    draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator
) -> None:
    slant, length = rng.uniform(-5, 5), rng.uniform(7, 13)
    for x, y in rng.uniform((0, 0), (width, height), size=(int(rng.integers(50, 90)), 2)):
        draw.line((x, y, x + slant, y + length), fill=(170, 180, 196), width=1)
    if rng.random() < 0.5:  # lightning
        x = rng.uniform(0.2, 0.8) * width
        steps = np.cumsum(rng.uniform((-9, 6), (9, 12), size=(5, 2)), axis=0)
        draw.line([(x + right, down) for right, down in steps], fill=(255, 250, 190), width=2)


def _draw_thing(
    draw: ImageDraw.ImageDraw, scene: Scene, foot: tuple[int, int], rng: np.random.Generator
) -> None:
    x, y = foot
    size = draw.im.size[1] * rng.uniform(0.22, 0.34)  # height in pixels
    color = _shade(_COATS[int(rng.integers(len(_COATS)))], _light(scene))
    dark = _shade((70, 50, 40), _light(scene))
    y += int(0.15 * size)
    if scene.thing == "tree":
        draw.rectangle((x - 0.08 * size, y - 0.6 * size, x + 0.08 * size, y), fill=dark)
        leaves = _shade(_vary((50, 120, 50), rng), _light(scene))
        _draw_disk(draw, x, y - 0.75 * size, 0.35 * size, leaves)
    elif scene.thing == "house":
        walls = (x - 0.5 * size, y - 0.6 * size, x + 0.5 * size, y)
        draw.rectangle(walls, fill=_shade((225, 215, 195), _light(scene)))
        roof = [(x - 0.6 * size, y - 0.6 * size), (x + 0.6 * size, y - 0.6 * size), (x, y - size)]
        draw.polygon(roof, fill=color)
        draw.rectangle((x - 0.1 * size, y - 0.35 * size, x + 0.1 * size, y), fill=dark)
    elif scene.thing == "person":
        _draw_person(draw, (x, y, size), color, _shade((235, 190, 160), _light(scene)))
    else:
        hull = [(-0.6, -0.25), (0.6, -0.25), (0.35, 0), (-0.35, 0)]
        draw.polygon([(x + a * size, y + b * size) for a, b in hull], fill=dark)
        sail = [(0, -0.3), (0, -1.0), (0.45, -0.3)]
        draw.polygon([(x + a * size, y + b * size) for a, b in sail], fill=color)


def _draw_person(
    draw: ImageDraw.ImageDraw, place: tuple[float, float, float], coat: Color, skin: Color
) -> None:
    x, y, size = place
    body = [(x, y - 0.7 * size), (x - 0.3 * size, y), (x + 0.3 * size, y)]
    draw.polygon(body, fill=coat)
    _draw_disk(draw, x, y - 0.75 * size, 0.22 * size, skin)
    for side in (-1, 1):
        _draw_disk(draw, x + side * 0.08 * size, y - 0.8 * size, 0.03 * size, (30, 25, 25))
    mouth = (x - 0.08 * size, y - 0.66 * size, x + 0.08 * size, y - 0.66 * size)
    draw.line(mouth, fill=(120, 50, 50), width=1)


def _draw_disk(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Color) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _develop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels: NDArray[np.float64] = np.asarray(image, np.float64) * rng.uniform(0.9, 1.1)
    pixels += rng.normal(0, rng.uniform(2, 8), size=pixels.shape)
    pixels = pixels[:, :: int(rng.choice((-1, 1)))]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _light(scene: Scene) -> float:
    if not scene.is_visible:
        return 0.8
    return 1.0 if scene.weather == "fair" else 0.55


def _shade(color: Color, light: float) -> Color:
    red, green, blue = (int(part * light) for part in color)
    return red, green, blue


def _vary(color: Color, rng: np.random.Generator, spread: int = 18) -> Color:
    """The color in another brightness and a slightly other tint."""
    shifts = rng.integers(-spread, spread + 1) + rng.integers(-6, 7, size=3)
    red, green, blue = (int(part) for part in (color + shifts).clip(0, 255))
    return red, green, blue
