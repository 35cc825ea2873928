"""Options adapted to the photos at hand: how many there are, and how finely they resolve the scene."""

from __future__ import annotations

from dataclasses import replace

from depthrf.nerf.options import (
    FewPhotosOptions,
    GridOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    RecastOptions,
)
from depthrf.nerf.rays import coord


def adapted(
    model: ModelOptions,
    losses: LossOptions,
    optimiser: OptimiserOptions,
    limits: FewPhotosOptions,
    *,
    num_photos: int,
    pixel_width: float,
) -> tuple[ModelOptions, LossOptions, OptimiserOptions]:
    """The options to train with.

    Args:
        model, losses, optimiser: The options as requested.
        limits: What they are limited to when photos are few.
        num_photos: Number of training photos.
        pixel_width: Median width of a pixel at its surface, normalised (``PixelStore.pixel_width``).
    """
    model = replace(model, field=replace(model.field, grid=_resolved(model, pixel_width)))
    # Only for objects on a plain background: real surroundings, measured with 18 photos, lost by each of these limits.
    if num_photos <= limits.max_photos and model.background != "last":
        model, losses, optimiser = _limited(model, losses, optimiser, limits)
    if optimiser.pose_rate > 0.0:
        # Pose corrections turn a photo's rays about its centre, but recast rays do not start there.
        optimiser = replace(optimiser, pixels=replace(optimiser.pixels, recast=RecastOptions(share=0.0)))
    return model, losses, optimiser


def _limited(
    model: ModelOptions, losses: LossOptions, optimiser: OptimiserOptions, limits: FewPhotosOptions
) -> tuple[ModelOptions, LossOptions, OptimiserOptions]:
    model = replace(
        model,
        field=replace(model.field, view_degree=min(model.field.view_degree, limits.max_view_degree)),
        rays_across=min(model.rays_across, limits.max_rays_across),
    )
    losses = replace(
        losses,
        unseen=replace(losses.unseen, share=max(losses.unseen.share, limits.min_unseen_share)),
        depth_final=max(losses.depth_final, limits.min_depth_final),
        grid_decay=max(losses.grid_decay, limits.min_grid_decay),
    )
    pixels = optimiser.pixels
    optimiser = replace(
        optimiser,
        pixels=replace(
            pixels,
            jitter=max(pixels.jitter, limits.min_pixel_jitter),
            depth_share=min(pixels.depth_share, limits.max_depth_share),
            contrast_share=min(pixels.contrast_share, limits.max_contrast_share),
        ),
        rate=min(optimiser.rate, limits.max_rate),
        rate_final=min(optimiser.rate_final, limits.max_rate),
    )
    return model, losses, optimiser


def _resolved(model: ModelOptions, pixel_width: float) -> GridOptions:
    """A grid no finer than the photos resolve.

    Cells much narrower than a pixel fall between the rays of the training photos. What is learned there is noise, which
    shows from any other viewpoint.
    """
    grid = model.field.grid
    cells = int(coord.GRID_WIDTH / pixel_width)
    return replace(grid, finest=min(grid.finest, max(cells, 2 * grid.coarsest)))
