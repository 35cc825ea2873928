"""pycolmap breaks a zlib that is loaded after it; and only the child process may load it."""

from __future__ import annotations

import subprocess
import sys


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120).stdout


def test_a_png_can_be_written_after_importing_pycolmap() -> None:
    code = (
        "from depthrf.sfm.child._pycolmap import pycolmap\n"
        "import io, numpy, PIL.Image\n"
        "out = io.BytesIO()\n"
        "PIL.Image.fromarray(numpy.random.randint(0, 255, (64, 64, 3), dtype='uint8')).save(out, 'PNG')\n"
        "numpy.savez_compressed(io.BytesIO(), a=numpy.arange(9))\n"
        "print(PIL.Image.open(io.BytesIO(out.getvalue())).size)"
    )
    assert "(64, 64)" in _python(code)


def test_the_parent_never_imports_pycolmap() -> None:
    code = (
        "import sys, depthrf.stages.sfm, depthrf.sfm.worker, depthrf.sfm.registration\n"
        "import depthrf.io.poses.colmap, depthrf.io.captures.poses\n"
        "print('pycolmap' in sys.modules)"
    )
    assert _python(code).strip() == "False"


def test_the_stage_module_imports_nothing_heavy() -> None:
    code = "import sys, depthrf.stages.sfm\nprint({'numpy', 'torch', 'cv2'} & sys.modules.keys())"
    assert _python(code).strip() == "set()"
