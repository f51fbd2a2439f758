const DRAWN = 112; // pixels a side that a map is drawn at: finer than a card shows it
const ALPHA = 0.75;
const FALL = 0.7;
const palettes = data.palettes.map(bytes);

/** A map as a canvas: bilinear, coloured, as opaque as it stands out. */
function mapCanvas(map) {
  const [width, height] = map.size;
  const values = bytes(map.steps);
  const table = palettes[map.signed ? 1 : 0];
  const canvas = element("canvas", { width: DRAWN, height: DRAWN, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(DRAWN, DRAWN);
  const columns = places(width);
  const rows = places(height);
  for (let y = 0; y < DRAWN; y++) {
    const [above, below, down] = rows[y];
    for (let x = 0; x < DRAWN; x++) {
      const [left, right, along] = columns[x];
      const upper = values[above * width + left] * (1 - along) + values[above * width + right] * along;
      const lower = values[below * width + left] * (1 - along) + values[below * width + right] * along;
      const value = upper * (1 - down) + lower * down;
      paint(image.data, 4 * (y * DRAWN + x), value, map, table);
    }
  }
  context.putImageData(image, 0, 0);
  const [x0, y0, x1, y1] = map.box;
  if (x0 > 0.005 || y0 > 0.005 || x1 < 0.995 || y1 < 0.995) canvas.className = "part"; // the rest the model did not see
  return placed(canvas, map.box);
}

/** A drawing laid over the part of the photo that the model saw. */
function placed(drawing, box) {
  const [x0, y0, x1, y1] = box.map((edge) => edge * 100);
  Object.assign(drawing.style, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
  return drawing;
}

/** The outline of the region that the target is of: a light line on a dark one. */
function outline(region) {
  const lines = ["under", "over"].map((name) => svg("path", { class: name, d: region.path }));
  const frame = { viewBox: `0 0 ${region.size.join(" ")}`, preserveAspectRatio: "none", class: "region", "aria-hidden": "true" };
  return placed(svg("svg", frame, ...lines), region.box);
}

function paint(pixels, at, value, map, table) {
  const entry = 3 * Math.round(value);
  const strength = map.flat ? 0 : map.signed ? Math.abs((2 * value) / 255 - 1) : value / 255;
  pixels[at] = table[entry];
  pixels[at + 1] = table[entry + 1];
  pixels[at + 2] = table[entry + 2];
  pixels[at + 3] = 255 * ALPHA * strength ** FALL;
}

/** For each drawn pixel the two cells it lies between and how far along it lies (pixel centres, as align_corners=False). */
function places(cells) {
  return Array.from({ length: DRAWN }, (_, pixel) => {
    const at = Math.min(Math.max(((pixel + 0.5) * cells) / DRAWN - 0.5, 0), cells - 1);
    const first = Math.floor(at);
    return [first, Math.min(first + 1, cells - 1), at - first];
  });
}

/** A photo, with a map and the region over it where they are given, in a square frame; alt: what it shows in words. */
function picture(number, map, alt, region) {
  const photo = data.photos[number];
  const frame = element("div", { class: "frame" });
  if (photo.why) {
    frame.append(element("span", { class: "none" }, `photo ${photo.why}`));
    return frame;
  }
  const [width, height] = photo.size;
  const image = element("img", { src: `data:image/jpeg;base64,${thumbnail(number)}`, alt, width, height });
  const inner = element("div", { class: `photo ${width >= height ? "wide" : "tall"}` }, image);
  inner.style.aspectRatio = `${width} / ${height}`;
  if (map) inner.append(mapCanvas(map));
  if (region) inner.append(outline(region));
  frame.append(inner);
  return frame;
}
