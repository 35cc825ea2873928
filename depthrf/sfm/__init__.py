"""Structure from motion for few photos: pycolmap in a child process, a ladder of settings and a check of its models.

Only :mod:`depthrf.sfm.child._pycolmap` imports pycolmap, and only the child process imports that module.
"""
