"""What the largest picture that is read costs, format by format: seconds of a core and memory.

Usage: python benchmarks/picture_costs.py [MEGAPIXELS]      default 50, the most that is read
Each picture is drawn, decoded to an encoder's input in a process of its own, and the peak of that
process is compared with what it held before. Pictures are half smooth and half noise; formats that
Pillow cannot write here are left out.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = {  # name: format, mode, options
    "JPEG": ("JPEG", "RGB", {}),
    "JPEG, progressive": ("JPEG", "RGB", {"progressive": True}),
    "PNG, palette": ("PNG", "P", {"compress_level": 1}),
    "PNG": ("PNG", "RGB", {"compress_level": 1}),
    "PNG, transparent": ("PNG", "RGBA", {"compress_level": 1}),
    "PNG, 16 bits": ("PNG", "I;16", {"compress_level": 1}),
    "WEBP": ("WEBP", "RGB", {"method": 0}),
    "WEBP, transparent": ("WEBP", "RGBA", {"method": 0}),
    "GIF": ("GIF", "P", {}),
    "TIFF, Deflate": ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    "AVIF": ("AVIF", "RGB", {"speed": 10}),
}


def draw(mode: str, megapixels: float) -> Image.Image:
    """A picture of a mode, 5 wide and 4 high; rows repeat, so that files stay below their limit."""
    unit = int((megapixels * 1e6 / 20) ** 0.5)
    width, height = 5 * unit, 4 * unit
    row = np.linspace(0, 255, width).astype(np.uint8)
    row[::2] = np.random.default_rng(0).integers(0, 256, len(row[::2]), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(np.tile(row.astype(np.uint16) * 257, (height, 1)))
    grey = Image.fromarray(np.tile(row, (height, 1)))
    return grey.convert("RGB").convert(mode)


def measure(file: Path) -> dict[str, float]:
    """Seconds of a core, and MiB beyond what the process had before, to decode the file."""
    from postsense.data.images import PicturePolicy, decode_picture, read_picture

    data, policy = read_picture(str(file)), PicturePolicy()
    before, began = _kib("VmRSS"), time.process_time()
    decode_picture(data, str(file), policy)
    return {"seconds": time.process_time() - began, "mib": (_kib("VmHWM") - before) / 1024}


def _kib(name: str) -> int:
    """A number that Linux tells of this process; VmHWM is the most that was resident."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main(megapixels: float) -> None:
    """Print one row a format."""
    print("| picture | file, MiB | seconds of a core | memory, MiB |")
    print("|---|---|---|---|")
    for name, (kind, mode, options) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "picture"
            try:
                draw(mode, megapixels).save(file, kind, **options)
            except (KeyError, OSError) as error:
                print(f"| {name} | not written here: {error} | | |", flush=True)
                continue
            command = [sys.executable, __file__, "--measure", str(file)]
            found = subprocess.run(command, check=True, capture_output=True, text=True)
            cost, size = json.loads(found.stdout), file.stat().st_size / 2**20
        print(f"| {name} | {size:.1f} | {cost['seconds']:.1f} | {cost['mib']:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 50)
