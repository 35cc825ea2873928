"use strict";
// Draws cameras with their photos and the sparse points on a canvas. Drag or arrow keys turn, shift and drag move, the
// wheel or + and - zoom; the camera under the pointer is named in `shown`, with its photo.
function showCameras(canvas, shown, scene) {
  const context = canvas.getContext("2d");
  const camera = { azimuth: -1.05, elevation: 0.4, distance: 1, target: [0, 0, 0] };
  let hovered = null;

  // Everything that is drawn, to frame it.
  const all = scene.points.xyz.concat(...scene.cameras.map(c => [c.centre, ...c.corners]));
  const low = [0, 1, 2].map(i => Math.min(...all.map(p => p[i])));
  const high = [0, 1, 2].map(i => Math.max(...all.map(p => p[i])));
  camera.target = low.map((v, i) => (v + high[i]) / 2);
  camera.distance = 1.15 * Math.hypot(...low.map((v, i) => high[i] - v)) || 1;

  const images = scene.cameras.map(c => {
    if (!c.photo) return null;
    const image = new Image();
    image.onload = draw;
    image.src = c.photo;
    return image;
  });

  // Rows of the rotation into view axes: right, up, toward the viewer.
  function axes() {
    const { azimuth: a, elevation: e } = camera;
    return [[-Math.sin(a), Math.cos(a), 0],
            [-Math.cos(a) * Math.sin(e), -Math.sin(a) * Math.sin(e), Math.cos(e)],
            [Math.cos(a) * Math.cos(e), Math.sin(a) * Math.cos(e), Math.sin(e)]];
  }

  // [x, y, distance] in pixels and scene units; null behind the viewer.
  function project(point, rows, width, height) {
    const d = point.map((v, i) => v - camera.target[i]);
    const [x, y, z] = rows.map(r => r[0] * d[0] + r[1] * d[1] + r[2] * d[2]);
    const depth = camera.distance - z;
    if (depth < 1e-3 * camera.distance) return null;
    const scale = 0.9 * Math.max(width, height) / depth;
    return [width / 2 + scale * x, height / 2 - scale * y, depth];
  }

  // One half of the photo: the affine map that takes three image corners to three points of the page.
  function triangle(image, from, to) {
    const [[u0, v0], [u1, v1], [u2, v2]] = from, [[x0, y0], [x1, y1], [x2, y2]] = to;
    const d = (u1 - u0) * (v2 - v0) - (u2 - u0) * (v1 - v0);
    const a = ((x1 - x0) * (v2 - v0) - (x2 - x0) * (v1 - v0)) / d, c = ((x2 - x0) * (u1 - u0) - (x1 - x0) * (u2 - u0)) / d;
    const b = ((y1 - y0) * (v2 - v0) - (y2 - y0) * (v1 - v0)) / d, e = ((y2 - y0) * (u1 - u0) - (y1 - y0) * (u2 - u0)) / d;
    context.save();
    context.beginPath();
    to.forEach(([x, y], i) => i ? context.lineTo(x, y) : context.moveTo(x, y));
    context.clip();
    context.transform(a, b, c, e, x0 - a * u0 - c * v0, y0 - b * u0 - e * v0);
    context.drawImage(image, 0, 0);
    context.restore();
  }

  function drawCamera(index, rows, width, height) {
    const item = scene.cameras[index], image = images[index];
    const centre = project(item.centre, rows, width, height);
    const corners = item.corners.map(p => project(p, rows, width, height));
    if (!centre || corners.includes(null)) return;
    if (image && image.complete && image.width) {
      const w = image.width, h = image.height, [p, q, r, s] = corners;
      context.globalAlpha = hovered === null || hovered === index ? 1 : 0.75;
      triangle(image, [[0, 0], [w, 0], [w, h]], [p, q, r]);
      triangle(image, [[0, 0], [w, h], [0, h]], [p, r, s]);
      context.globalAlpha = 1;
    }
    context.strokeStyle = item.heldOut ? "#dd6b20" : "#2b6cb0";
    context.lineWidth = hovered === index ? 2.5 : 1;
    context.beginPath();
    corners.forEach((p, i) => {
      const q = corners[(i + 1) % 4];
      context.moveTo(p[0], p[1]); context.lineTo(q[0], q[1]);
      context.moveTo(centre[0], centre[1]); context.lineTo(p[0], p[1]);
    });
    context.stroke();
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio; canvas.height = height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const rows = axes();
    scene.points.xyz.forEach((point, i) => {
      const p = project(point, rows, width, height);
      if (!p) return;
      context.fillStyle = `rgb(${scene.points.rgb[i]})`;
      context.fillRect(p[0] - 1, p[1] - 1, 2, 2);
    });
    // Far cameras first, so that near ones cover them.
    scene.cameras.map((c, i) => [project(c.centre, rows, width, height)?.[2] ?? 0, i])
      .sort((a, b) => b[0] - a[0]).forEach(([, i]) => drawCamera(i, rows, width, height));
  }

  function hover(x, y) {
    const rows = axes(), width = canvas.clientWidth, height = canvas.clientHeight;
    let best = 40;
    const before = hovered;
    hovered = null;
    scene.cameras.forEach((c, i) => {
      const middle = [0, 1, 2].map(k => c.corners.reduce((s, p) => s + p[k] / 4, 0));
      const p = project(middle, rows, width, height);
      const d = p ? Math.hypot(p[0] - x, p[1] - y) : Infinity;
      if (d < best) { best = d; hovered = i; }
    });
    if (hovered === before) return;
    shown.replaceChildren();
    if (hovered !== null) {
      shown.append(scene.cameras[hovered].name);
      if (images[hovered]) shown.append(images[hovered].cloneNode());
    }
    draw();
  }

  function turn(azimuth, elevation) {
    camera.azimuth += azimuth;
    camera.elevation = Math.max(-1.57, Math.min(1.57, camera.elevation + elevation));
  }

  let heldAt = null;
  canvas.addEventListener("pointerdown", e => { heldAt = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointerup", () => { heldAt = null; });
  canvas.addEventListener("pointermove", e => {
    if (!heldAt) return hover(e.clientX, e.clientY);
    const dx = e.clientX - heldAt[0], dy = e.clientY - heldAt[1];
    heldAt = [e.clientX, e.clientY];
    if (e.shiftKey) {
      const step = camera.distance / (0.9 * Math.max(canvas.clientWidth, canvas.clientHeight)), [right, up] = axes();
      camera.target = camera.target.map((v, i) => v - step * (dx * right[i] - dy * up[i]));
    } else {
      turn(-0.006 * dx, 0.006 * dy);
    }
    draw();
  });
  canvas.addEventListener("wheel", e => {
    e.preventDefault();
    camera.distance *= Math.exp(0.001 * e.deltaY);
    draw();
  }, { passive: false });
  canvas.addEventListener("keydown", e => {
    const turns = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    const zooms = { "+": 0.9, "=": 0.9, "-": 1 / 0.9 };
    if (turns[e.key]) turn(...turns[e.key]);
    else if (zooms[e.key]) camera.distance *= zooms[e.key];
    else return;
    e.preventDefault();
    draw();
  });
  new ResizeObserver(draw).observe(canvas);
  draw();
}
