"""The animation at the top of README, made from the tutorial's pictures, which are taken in 3D Slicer.

python Testing/Python/project/workflow_animation.py     writes Resources/Screenshots/workflow.gif
"""

from pathlib import Path

from PIL import Image

SCREENSHOTS = Path(__file__).resolve().parents[3] / "Resources/Screenshots"
STEPS = ("tutorial-1-open", "tutorial-2-paint", "tutorial-3-painted", "tutorial-4-run", "panel", "tutorial-5-correct")
STEPS += ("tutorial-6-again", "tutorial-7-keep")
WIDTH = 1000
FRAME_MS = 2500


def frames() -> list[Image.Image]:
    """Return a frame for each step, all of one size."""
    pictures = [Image.open(SCREENSHOTS / f"{step}.png").convert("RGB") for step in STEPS]
    height = round(WIDTH * pictures[0].height / pictures[0].width)
    return [each.resize((WIDTH, height), Image.Resampling.LANCZOS) for each in pictures]


def write(path: Path) -> None:
    """Write a GIF, which every page can show."""
    first, *others = (each.quantize(128, dither=Image.Dither.NONE) for each in frames())
    first.save(path, save_all=True, append_images=others, duration=FRAME_MS, loop=0, optimize=True)


if __name__ == "__main__":
    write(SCREENSHOTS / "workflow.gif")
