"""Published numbers, as data: what the benchmarks print beside their own."""

from __future__ import annotations

LEGO_PSNR: dict[str, dict[int, float]] = {
    "none": {3: 17.73, 6: 23.87, 100: 36.65},
    "l2": {3: 20.32, 6: 25.90, 100: 35.09},
    "urf": {3: 20.09, 6: 26.12, 100: 36.36},
    "cdf": {3: 23.81, 6: 27.91, 100: 36.96},
}
"""PSNR by depth loss and number of training views: "Depth Supervision with Statistical Weight Bounds"."""

LEGO_PROTOCOL = "400x400, 200 test views, 50000 steps of 8192 rays"

LEGO_MULTI_SCALE_PSNR = (34.412, 35.640, 36.074, 35.482)
"""Full, 1/2, 1/4 and 1/8 of 800x800, trained on all four (mipnerf_pl, 300000 steps)."""

LEGO_SINGLE_SCALE = (35.198, 0.985)
"""PSNR and SSIM at 800x800, trained at that size only (mipnerf_pl, 300000 steps)."""
