"""Files of camera paths, in and out: depthrf's own, nerfstudio's and COLMAP's."""
