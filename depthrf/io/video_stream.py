"""What a video's frames are, and the ffmpeg filters that make pictures of them as people see them: upright, with square
pixels, without comb, in sRGB.

ITU-T H.273 names colours; BT.2100 defines HLG and PQ; BT.2408 puts the white of ordinary scenes at 203 cd/m².
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from depthrf.errors import DepthrfError
from depthrf.io import ffmpeg
from depthrf.io.clean_aperture import CleanAperture, read_clean_aperture

_HDR = {"arib-std-b67": "HLG", "smpte2084": "PQ"}
_WIDE = {"bt2020": "BT.2020", "smpte432": "Display P3", "smpte431": "DCI-P3"}
_UNTOLD = ("unknown", "unspecified", "reserved", "")
_WHITE = 203  # cd/m²
_PEAK = 1000 / _WHITE  # of what is graded for HLG and most PQ
_HIGH_DEFINITION = 720  # pixels of the shorter side, from which on untagged video is BT.709
_SECONDS = 120  # a first frame takes no longer


@dataclass(frozen=True)
class VideoStream:
    """The first frame of a video, as ffmpeg decodes it.

    Attributes:
        width, height: Pixels, turned as the file asks.
        pixel_aspect: Width of a pixel by its height.
        interlaced: Whether a frame holds two fields.
        matrix, primaries, transfer: Colours, by ffmpeg's names.
        turned_by: Degrees counter-clockwise by which ffmpeg turned it.
        aperture: The part that is meant to be seen, where ffmpeg has not cut it out itself; in stored pixels.
    """

    width: int
    height: int
    pixel_aspect: Fraction
    interlaced: bool
    matrix: str
    primaries: str
    transfer: str
    turned_by: int = 0
    aperture: CleanAperture | None = None

    @property
    def hdr(self) -> str | None:
        """HLG or PQ; None for video of ordinary range."""
        return _HDR.get(self.transfer)


def probe(path: Path, *, turned: bool = True) -> VideoStream | None:
    """Decodes the first frame of a clip; None where there is none.

    Args:
        path: The clip.
        turned: Whether frames are turned as the file asks.

    Raises:
        DepthrfError: There is no ffmpeg.
    """
    # fmt: off
    command = [
        ffmpeg.executable(), "-hide_banner", "-nostdin", "-loglevel", "info", *(() if turned else ("-noautorotate",)),
        "-i", str(path.absolute()), "-map", "0:v:0", "-frames:v", "1", "-vf", "showinfo", "-f", "null", "-",
    ]
    # fmt: on
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, stdin=quiet, capture_output=True, check=False, timeout=_SECONDS, start_new_session=True
        )
    except OSError as e:
        raise DepthrfError(f"Cannot start the video decoder: {e.strerror}. {ffmpeg.ADVICE}") from e
    except subprocess.TimeoutExpired:
        return None
    return _parse(done.stderr.decode("utf-8", "replace"), path)


def _parse(told: str, path: Path) -> VideoStream | None:
    frame = re.search(r"showinfo.*? n: *0 .*?sar:(\d+)/(\d+) s:(\d+)x(\d+) i:(.)", told)
    if frame is None:
        return None
    across, up = int(frame[1]), int(frame[2])
    width, height = int(frame[3]), int(frame[4])
    colours = {key: _after(told, key) for key in ("color_space", "color_primaries", "color_trc")}
    rotation = re.search(r"displaymatrix: rotation of (-?[\d.]+) degrees", told)
    turned_by = round(float(rotation[1])) % 360 if rotation else 0
    stored = (height, width) if turned_by in (90, 270) else (width, height)
    return VideoStream(
        width=width,
        height=height,
        pixel_aspect=Fraction(across, up) if across and up else Fraction(1),
        interlaced=frame[5] in "TB",
        matrix=colours["color_space"],
        primaries=colours["color_primaries"],
        transfer=colours["color_trc"],
        turned_by=turned_by,
        aperture=_left_to_cut(read_clean_aperture(path), *stored),
    )


def _left_to_cut(aperture: CleanAperture | None, width: int, height: int) -> CleanAperture | None:
    """The clean aperture, unless it is the whole decoded frame or senseless."""
    if aperture is None:
        return None
    cut = (round(aperture.width), round(aperture.height))
    inside = 0 < cut[0] <= width and 0 < cut[1] <= height
    return aperture if inside and cut != (width, height) else None


def _after(told: str, key: str) -> str:
    match = re.search(rf"showinfo.*? {key}:(\S+)", told)
    return match[1] if match else "unknown"


def geometry_filters(stream: VideoStream) -> list[str]:
    """Filters that take the comb out, cut the clean aperture and make pixels square."""
    result = ["bwdif=mode=send_frame:deint=interlaced"] if stream.interlaced else []
    if stream.aperture is not None:
        result.append(_crop(stream, stream.aperture))
    aspect = stream.pixel_aspect
    if aspect != 1:
        # The side that is too short grows: shrinking the other one would lose detail.
        wide, high = (f"trunc(iw*{aspect}+0.5)", "ih") if aspect > 1 else ("iw", f"trunc(ih*{1 / aspect}+0.5)")
        result.append(f"scale='{wide}':'{high}':flags=bicubic,setsar=1")
    return result


@dataclass(frozen=True)
class ColourFilters:
    """Filters, what the user should know of them, and whether the colours come out as they should."""

    filters: tuple[str, ...] = ()
    remark: str | None = None
    right: bool = True


def colour_filters(stream: VideoStream) -> ColourFilters:
    """What brings the colours of a video to those of ordinary screens."""
    available = ffmpeg.filters(ffmpeg.executable())
    name = stream.hdr or _WIDE.get(stream.primaries)
    if name is None:
        untold = stream.matrix in _UNTOLD and min(stream.width, stream.height) >= _HIGH_DEFINITION
        return ColourFilters(("scale=in_color_matrix=bt709",) if untold else ())
    if "zscale" not in available or (stream.hdr and "tonemap" not in available):
        remark = (
            f"The video is {name}, and this ffmpeg lacks zscale, so its colours come out pale. Use the one that "
            "comes with imageio-ffmpeg (unset IMAGEIO_FFMPEG_EXE), or record in standard dynamic range."
        )
        return ColourFilters((), remark, right=False)
    matrix = "2020_ncl" if stream.matrix in _UNTOLD else "input"
    source = f"pin={'input' if stream.primaries not in _UNTOLD else '2020'}:min={matrix}"
    if stream.hdr is None:
        transfer = "709" if stream.transfer in _UNTOLD else "input"
        converted = f"zscale={source}:tin={transfer}:p=709:t=709:m=709:r=limited,format=yuv444p"
        return ColourFilters((converted,), f"{name} colours of the video converted to BT.709")
    tone_mapped = (
        f"zscale={source}:t=linear:npl={_WHITE}",
        "format=gbrpf32le",
        "zscale=p=709",
        f"tonemap=mobius:param=0.8:desat=0:peak={_PEAK:.3f}",
        "zscale=t=709:m=709:r=limited",
        "format=yuv444p",
    )
    return ColourFilters(tone_mapped, f"{name} video (high dynamic range) tone-mapped to BT.709")


def _crop(stream: VideoStream, aperture: CleanAperture) -> str:
    """The clean aperture, turned as the frame is."""
    width, height, right, down = aperture.width, aperture.height, aperture.right, aperture.down
    for _ in range(stream.turned_by // 90):  # counter-clockwise: what was right is up
        width, height, right, down = height, width, down, -right
    x = 0.5 * (stream.width - width) + right
    y = 0.5 * (stream.height - height) + down
    return f"crop={round(width)}:{round(height)}:{max(0, round(x))}:{max(0, round(y))}:exact=1"
