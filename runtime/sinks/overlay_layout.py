"""Where what stands in the overlay: the picture above, below it the plane and the curves."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BACKGROUND", "GRID", "INK", "Colour", "Layout", "Rectangle", "colour_of", "mixed"]

Colour = tuple[int, int, int]

BACKGROUND: Colour = (24, 26, 30)
GRID: Colour = (78, 82, 90)
INK: Colour = (232, 232, 228)
# Okabe and Ito's palette, made to be told apart with every kind of colour vision; black and dark blue left out.
_TRACKS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
)
# Smaller pictures are enlarged, or no text would fit.
_MIN_WIDTH = 320
_PANEL_SHARE = 0.3
_PANEL_RANGE = (116, 300)


def colour_of(track: int) -> Colour:
    """One colour a track, the seventh begins anew; light grey for a voice alone (below 0)."""
    return INK if track < 0 else _TRACKS[track % len(_TRACKS)]


def mixed(colour: Colour, share: float) -> Colour:
    """`share` (0 … 1) of a colour, the rest background."""
    red, green, blue = (round(share * c + (1 - share) * b) for c, b in zip(colour, BACKGROUND, strict=True))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Pixels left … right - 1 and top … bottom - 1."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of everything, in pixels; width and height of the whole are even, as encoders want them."""

    width: int
    height: int
    picture: Rectangle
    plane: Rectangle
    valence: Rectangle
    arousal: Rectangle
    text: float
    """Scale of OpenCV's letters."""
    line: int
    """Thickness of boxes and curves."""

    @classmethod
    def of_frames(cls, width: int, height: int) -> Layout:
        """For frames of this size: kept as they are, or enlarged by the smallest whole number to 320 pixels' width."""
        by = -(-_MIN_WIDTH // width)
        shown = Rectangle(0, 0, by * width, by * height)
        panel = min(max(round(_PANEL_SHARE * shown.width), _PANEL_RANGE[0]), _PANEL_RANGE[1])
        text = max(0.4, 0.4 * (shown.width / 320) ** 0.5)
        margin = round(14 * text)
        top, bottom = shown.bottom + margin, shown.bottom + panel - margin
        plane = Rectangle(margin, top, margin + bottom - top, bottom)
        # Left of the curves stand +1 and -1.
        left, right = plane.right + margin + round(46 * text), shown.right - margin
        middle = (top + bottom) // 2
        # Above each curve stands its name.
        title = round(30 * text)
        return cls(
            width=shown.width + shown.width % 2,
            height=shown.bottom + panel + (shown.bottom + panel) % 2,
            picture=shown,
            plane=plane,
            valence=Rectangle(left, top + title, right, middle - margin // 2),
            arousal=Rectangle(left, middle + title, right, bottom),
            text=text,
            line=max(1, round(shown.width / 320)) if shown.width < 960 else 3,
        )

    def in_picture(self, x: float, y: float, width: int, height: int) -> tuple[int, int]:
        """Where a point of a frame of that size is shown. Frames of another size than the first are fitted in."""
        by = min(self.picture.width / width, self.picture.height / height)
        left = self.picture.left + (self.picture.width - by * width) / 2
        top = self.picture.top + (self.picture.height - by * height) / 2
        return round(left + by * x), round(top + by * y)

    def in_plane(self, across: float, up: float) -> tuple[int, int]:
        """Where a point of the plane is shown; both numbers from 0 (left, bottom) to 1."""
        return (
            self.plane.left + round(across * (self.plane.width - 1)),
            self.plane.bottom - 1 - round(up * (self.plane.height - 1)),
        )
