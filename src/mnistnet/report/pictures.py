"""Images shown to people: as PNG in a page, in characters, and as a contact sheet.

    png_address(pixels)                # data:image/png;base64,…
    in_characters(image)               # 14 lines of 28 characters
    write_contact_sheet(Path("batch.png"), "The first batch", images, captions)

Images are uint8 (H, W), ink bright on dark.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from mnistnet.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

INK = 96  # grey level from which a pixel is drawn in characters
BLOCKS = (" ", "▄", "▀", "█")  # neither pixel, the lower, the upper, both
COLUMNS, ROWS = 8, 4  # of a contact sheet
WIDTH, HEIGHT, SIDE = 106, 112, 84  # pixels: of a place in it, and of the image there


def png_address(pixels: bytes) -> str:
    """Return 28 rows of pixels as an address that holds the PNG file itself."""
    content = io.BytesIO()
    Image.frombytes("L", (len(pixels) // 28, 28), pixels).save(content, "png")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def in_characters(image: NDArray[np.uint8]) -> list[str]:
    """Draw an image in lines of characters, each of which is two pixels, one above the other."""
    ink = (image >= INK).astype(int)
    return ["".join(BLOCKS[k] for k in row) for row in (2 * ink[0::2] + ink[1::2]).tolist()]


def write_contact_sheet(
    path: Path, title: str, images: NDArray[np.uint8], captions: Sequence[str]
) -> None:
    """Write up to 32 images (N, 28, 28) as one PNG file, each enlarged below its caption.

    Raises:
        FileError: the file cannot be written.
    """
    sheet = Image.new("L", (COLUMNS * WIDTH + 24, ROWS * HEIGHT + 44), 255)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)  # comes with Pillow; has no arrows, no dashes but "-"
    draw.text((sheet.width / 2, 20), title, 0, ImageFont.load_default(17), "mm")
    for i, (image, caption) in enumerate(zip(images[: COLUMNS * ROWS], captions, strict=False)):
        x, y = 12 + i % COLUMNS * WIDTH + 11, 42 + i // COLUMNS * HEIGHT + 20
        enlarged = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (x, y))
        draw.text((x + SIDE / 2, y - 10), caption, 0, font, "mm")
    with atomic_write(path) as temporary:
        sheet.save(temporary, "png")
