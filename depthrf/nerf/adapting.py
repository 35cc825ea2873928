"""Options fitted to the photos that there are: how many, and how finely they see the scene."""

from __future__ import annotations

from dataclasses import replace

from depthrf.nerf import coord
from depthrf.nerf.options import (
    FewPhotosOptions,
    GridOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    RecastOptions,
)


def adapted(
    model: ModelOptions,
    losses: LossOptions,
    optimiser: OptimiserOptions,
    few: FewPhotosOptions,
    *,
    num_photos: int,
    pixel_width: float,
) -> tuple[ModelOptions, LossOptions, OptimiserOptions]:
    """The options to train with.

    Args:
        model, losses, optimiser: As asked for.
        few: What changes up to a number of photos.
        num_photos: Training photos.
        pixel_width: Width of a pixel where its surface lies (``PixelStore.pixel_width``).
    """
    field = replace(model.field, grid=_resolved(model, pixel_width))
    # Real surroundings, measured with 18 photos, lost by each of these changes.
    if num_photos <= few.most and model.background != "last":
        field = replace(field, view_degree=min(field.view_degree, few.view_degree))
        share = max(losses.unseen.share, few.unseen_share)
        final = max(losses.depth_final, few.depth_final)
        decay = max(losses.grid_decay, few.grid_decay)
        losses = replace(losses, unseen=replace(losses.unseen, share=share), depth_final=final, grid_decay=decay)
        model = replace(model, rays_across=min(model.rays_across, few.rays_across))
        pixels = replace(
            optimiser.pixels,
            jitter=max(optimiser.pixels.jitter, few.pixel_jitter),
            depth_share=min(optimiser.pixels.depth_share, few.depth_share),
            contrast_share=min(optimiser.pixels.contrast_share, few.contrast_share),
        )
        rate, last = (min(r, few.rate) for r in (optimiser.rate, optimiser.rate_final))
        optimiser = replace(optimiser, pixels=pixels, rate=rate, rate_final=last)
    if optimiser.pose_rate > 0.0:  # corrections turn a photo's rays about its centre, where recast rays do not start
        optimiser = replace(optimiser, pixels=replace(optimiser.pixels, recast=RecastOptions(share=0.0)))
    return replace(model, field=field), losses, optimiser


def _resolved(model: ModelOptions, pixel_width: float) -> GridOptions:
    """A grid no finer than what the photos resolve.

    Cells much narrower than a pixel lie between the rays of the training photos: what is learned there is noise, which
    a view from elsewhere shows.
    """
    grid = model.field.grid
    cells = int(coord.GRID_WIDTH / pixel_width)
    return replace(grid, finest=min(grid.finest, max(cells, 2 * grid.coarsest)))
