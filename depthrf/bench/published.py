"""Published numbers, as data: what the benchmarks print beside their own."""

from __future__ import annotations

from depthrf.bench.view_sets import is_random, num_ids

LEGO_PSNR: dict[str, dict[int, float]] = {
    "none": {3: 17.73, 6: 23.87, 100: 36.65},
    "l2": {3: 20.32, 6: 25.90, 100: 35.09},
    "urf": {3: 20.09, 6: 26.12, 100: 36.36},
    "cdf": {3: 23.81, 6: 27.91, 100: 36.96},
}
"""PSNR in dB by depth loss and number of training views: "Depth Supervision with Statistical Weight Bounds".

Its author rendered the pictures anew, so cameras and test views differ from those of nerf_synthetic.
"""

LEGO_OTHERS: dict[str, dict[str, float]] = {
    "standard-8": {"DietNeRF": 23.9, "DietNeRF, fine-tuned": 24.3},
    "8": {"3D Gaussian splatting": 22.48},
}
"""PSNR in dB of methods without depth by the training views that they use."""

LEGO_OTHERS_PROTOCOL = {"standard-8": "400x400, 25 test views", "8": "400x400, 200 test views"}

LLFF_PSNR: dict[str, dict[int, float]] = {
    "FreeNeRF": {3: 19.63, 6: 23.73, 9: 25.13},
    "best": {3: 22.20, 6: 25.37, 9: 26.73},
}
"""Mean PSNR in dB over the eight LLFF scenes by number of training photos: 504x378, every 8th photo is a test."""

LEGO_PROTOCOL = "400x400, 200 test views, 50000 steps of 8192 rays"

LEGO_MULTI_SCALE_PSNR = (34.412, 35.640, 36.074, 35.482)
"""PSNR in dB at 800, 400, 200 and 100 pixels, trained on all four sizes (mipnerf_pl)."""

LEGO_MULTI_SCALE_PROTOCOL = "800 to 100 pixels, 300000 steps"

LEGO_SINGLE_SCALE = (35.198, 0.985)
"""PSNR and SSIM at 800x800, trained at that size only (mipnerf_pl, 300000 steps)."""


def lego_psnr(loss: str, group: str) -> float | None:
    """The published PSNR of a depth loss for the first N views of lego, which random ones are compared with too."""
    comparable = group.isdigit() or is_random(group)
    return LEGO_PSNR.get(loss, {}).get(num_ids(group)) if comparable else None
