"""The demo scene: photos of an analytic textured room with known poses and depth."""
