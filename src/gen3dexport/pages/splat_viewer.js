// 3D Gaussians in a canvas (WebGL 2): rows of a .splat in the pipeline's frame (z up, unit cube), sorted back to front.
// Each becomes an ellipse by its covariance through the projection's Jacobian, as in gaussian_render.py. The rows of several
// moments are several texts; canvas.showMoment(k) draws another one.
function splatViewer(canvas, texts) {
  const moments = texts.map(unpacked), most = Math.max(...moments.map((moment) => moment.count));
  const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
  if (!gl || !most) return false;
  let { count, floats, data, width, height } = moments[0];
  const vertex = `#version 300 es
    precision highp float; precision highp int; precision highp sampler2D;
    layout(location = 0) in vec2 corner; layout(location = 1) in uint row;
    uniform sampler2D table; uniform vec3 right, up, back; uniform float distance, focal, pixels;
    out vec2 place; out vec4 color;
    void main() {
      ivec2 at = ivec2(3 * int(row % 512u), int(row / 512u));
      vec4 a = texelFetch(table, at, 0), b = texelFetch(table, at + ivec2(1, 0), 0), c = texelFetch(table, at + ivec2(2, 0), 0);
      float depth = distance - dot(a.xyz, back);
      gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
      if (depth < 0.1) return;
      vec2 seen = vec2(dot(a.xyz, right), dot(a.xyz, up)) / depth;
      mat3 covariance = mat3(b.x, b.y, b.z, b.y, b.w, c.x, b.z, c.x, c.y);
      vec3 across = focal / depth * (right + seen.x * back), along = focal / depth * (up + seen.y * back);
      float xx = dot(across, covariance * across) + 0.3, xy = dot(across, covariance * along), yy = dot(along, covariance * along) + 0.3;
      float middle = (xx + yy) / 2.0, spread = length(vec2((xx - yy) / 2.0, xy));
      vec2 major = abs(xy) < 1e-9 ? (xx >= yy ? vec2(1, 0) : vec2(0, 1)) : normalize(vec2(xy, middle + spread - xx));
      vec2 offset = 3.33 * (corner.x * sqrt(middle + spread) * major + corner.y * sqrt(max(middle - spread, 0.1)) * vec2(-major.y, major.x));
      place = 3.33 * corner;
      uint rgb = uint(c.z);
      color = vec4(float(rgb & 255u), float((rgb >> 8) & 255u), float(rgb >> 16), 255.0 * a.w) / 255.0;
      gl_Position = vec4((focal * seen + offset) * 2.0 / pixels, 0.0, 1.0);
    }`;
  const fragment = `#version 300 es
    precision highp float;
    in vec2 place; in vec4 color; out vec4 shown;
    void main() {
      float alpha = min(0.99, color.a * exp(-0.5 * dot(place, place)));
      if (alpha < 1.0 / 255.0) discard;
      shown = vec4(color.rgb * alpha, alpha);
    }`;
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  const upload = () => gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, width, height, 0, gl.RGBA, gl.FLOAT, data);
  upload();
  for (const which of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, which, gl.NEAREST);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
  const order = new Uint32Array(most), rows = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, rows);
  gl.bufferData(gl.ARRAY_BUFFER, order.byteLength, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(1);
  gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_INT, 0, 0);
  gl.vertexAttribDivisor(1, 1);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const camera = { azimuth: 35, elevation: 22, zoom: 1 }, half = (13 * Math.PI) / 180;
  const keys = new Uint16Array(most), slots = new Uint32Array(65537);
  let asked = false;
  function draw() {
    asked = false;
    const pixels = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
    if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
    const a = (camera.azimuth * Math.PI) / 180, e = (camera.elevation * Math.PI) / 180;
    const back = [Math.cos(a) * Math.cos(e), Math.sin(a) * Math.cos(e), Math.sin(e)], right = [-Math.sin(a), Math.cos(a), 0];
    const up = [back[1] * right[2] - back[2] * right[1], back[2] * right[0] - back[0] * right[2], back[0] * right[1] - back[1] * right[0]];
    // Farthest first: counting sort of the depth in 16 bits.
    slots.fill(0);
    for (let n = 0; n < count; n++) {
      const near = (floats[8 * n] * back[0] + floats[8 * n + 1] * back[1] + floats[8 * n + 2] * back[2]) / 1.8 + 0.5;
      keys[n] = Math.max(0, Math.min(65535, Math.round(65535 * near)));
      slots[keys[n] + 1]++;
    }
    for (let k = 0; k < 65536; k++) slots[k + 1] += slots[k];
    for (let n = 0; n < count; n++) order[slots[keys[n]]++] = n;
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
    const set = (name, value) => gl.uniform3fv(gl.getUniformLocation(program, name), value);
    set("right", right); set("up", up); set("back", back);
    const one = (name, value) => gl.uniform1f(gl.getUniformLocation(program, name), value);
    one("distance", ((1.06 * Math.sqrt(0.75)) / Math.sin(half)) * camera.zoom); one("focal", pixels / 2 / Math.tan(half)); one("pixels", pixels);
    gl.viewport(0, 0, pixels, pixels);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  }
  const redraw = () => { if (!asked) { asked = true; requestAnimationFrame(draw); } };
  canvas.showMoment = (k) => {
    ({ count, floats, data, width, height } = moments[k]);
    upload();
    redraw();
  };
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    camera.azimuth -= 0.4 * event.movementX;
    camera.elevation = Math.max(-85, Math.min(85, camera.elevation + 0.4 * event.movementY));
    redraw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoom = Math.max(0.3, Math.min(2, camera.zoom * Math.exp(0.001 * event.deltaY)));
    redraw();
  }, { passive: false });
  new ResizeObserver(redraw).observe(canvas);
  draw();
  canvas.dataset.drawn = "yes";
  return true;
}

// The rows of one moment, and a texture of them with three texels a Gaussian: x, y, z, opacity; xx, xy, xz, yy; yz, zz, rgb as
// one number of 24 bits.
function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const count = bytes.length / 32, floats = new Float32Array(bytes.buffer);
  const width = 3 * 512, height = Math.ceil(count / 512), data = new Float32Array(4 * width * height);
  for (let n = 0; n < count; n++) {
    const [x, y, z, sx, sy, sz] = floats.subarray(8 * n, 8 * n + 6), at = 32 * n + 24;
    const q = [0, 1, 2, 3].map((k) => (bytes[at + 4 + k] - 128) / 128), size = Math.hypot(...q) || 1;
    const [w, i, j, k] = q.map((v) => v / size);
    const axes = [
      [1 - 2 * (j * j + k * k), 2 * (i * j - w * k), 2 * (i * k + w * j)],
      [2 * (i * j + w * k), 1 - 2 * (i * i + k * k), 2 * (j * k - w * i)],
      [2 * (i * k - w * j), 2 * (j * k + w * i), 1 - 2 * (i * i + j * j)],
    ].map((row) => [row[0] * sx, row[1] * sy, row[2] * sz]);
    const dot = (a, b) => axes[a][0] * axes[b][0] + axes[a][1] * axes[b][1] + axes[a][2] * axes[b][2];
    const color = bytes[at] + 256 * bytes[at + 1] + 65536 * bytes[at + 2];
    data.set([x, y, z, bytes[at + 3] / 255, dot(0, 0), dot(0, 1), dot(0, 2), dot(1, 1), dot(1, 2), dot(2, 2), color, 0], 12 * n);
  }
  return { count, floats, data, width, height };
}
