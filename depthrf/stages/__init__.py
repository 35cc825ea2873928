"""Pipeline stages, one module each, and helpers of single stages; :mod:`depthrf.stages.stage` says what a stage is."""
