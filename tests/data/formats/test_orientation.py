"""How a picture is to be turned, as EXIF or XMP says; damaged metadata says nothing."""

import struct

import pytest
from PIL import Image

from postsense.data.formats.orientation import orientation_of


def exif_of(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0110] = "camera"
    exif[0x0112] = value
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_of_both_byte_orders_names_the_orientation(orientation: int) -> None:
    little = exif_of(orientation)
    big = b"MM\0*" + struct.pack(">LHHHLHHL", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    assert orientation_of(little) == orientation_of(big) == orientation
    assert orientation_of(little.removeprefix(b"Exif\0\0")) == orientation


def test_xmp_counts_where_exif_names_none() -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    assert orientation_of(None, xmp) == 6
    assert orientation_of(Image.Exif().tobytes(), xmp) == 6
    assert orientation_of(exif_of(3), xmp) == 3


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"JJ*\0\0\0\0\x08", exif_of(9)]
)
def test_damaged_exif_turns_nothing(exif: bytes) -> None:
    assert orientation_of(exif) == 1
