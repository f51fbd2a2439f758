const CHART = { width: 480, height: 270, left: 38, right: 10, top: 10, bottom: 32 };
const MOST_LINES = 6; // in the legend at first

/** A line chart as a figure. series: {name, number, x, y, half?, dashed}; range: [low, high]. */
function chart(title, note, series, range) {
  const { width, height, left, right, top, bottom } = CHART;
  const across = (x) => left + x * (width - left - right);
  const up = (y) => height - bottom - ((y - range[0]) / (range[1] - range[0])) * (height - top - bottom);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken(title, series) });
  for (const value of ticks(range)) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: up(value), y2: up(value) }));
    drawing.append(svg("text", { x: left - 6, y: up(value) + 4, "text-anchor": "end" }, Number(value.toFixed(3)).toString()));
  }
  for (const x of [0, 0.25, 0.5, 0.75, 1]) {
    drawing.append(svg("text", { x: across(x), y: height - bottom + 15, "text-anchor": "middle" }, x.toString()));
  }
  drawing.append(svg("text", { x: (left + width - right) / 2, y: height - 2, "text-anchor": "middle" }, "fraction of the pixels"));
  for (const line of series) if (line.half) drawing.append(band(line, across, up));
  for (const line of series) drawing.append(curve(line, across, up));
  return element("figure", { class: "chart" }, element("figcaption", {}, title, element("span", { class: "note" }, note)), drawing);
}

function curve(line, across, up) {
  const points = line.x.map((x, at) => `${across(x).toFixed(1)},${up(line.y[at]).toFixed(1)}`);
  const style = `curve ${colour(line.number)}${line.dashed ? " dashed" : ""}`;
  return svg("polyline", { class: style, points: points.join(" ") }, svg("title", {}, line.name));
}

function band(line, across, up) {
  const edge = (sign) => line.x.map((x, at) => `${across(x).toFixed(1)},${up(line.y[at] + sign * (line.half[at] ?? 0)).toFixed(1)}`);
  return svg("polygon", { class: `band ${colour(line.number)}`, points: [...edge(1), ...edge(-1).reverse()].join(" ") });
}

function spoken(title, series) {
  const ends = series.map((line) => `${line.name} from ${figure(line.y[0])} to ${figure(line.y[line.y.length - 1])}`);
  return `${title}: ${ends.join("; ")}`;
}

/** The curves of the chosen group: one chart a metric, one line a method, with the interval of the mean. */
function drawCurves() {
  const { curves, metrics, methods } = group();
  byId("curves").hidden = curves.length === 0;
  const charts = metrics.flatMap((metric, number) => {
    const mine = curves.filter((line) => line.metric === number);
    const shown = mine.filter((line) => !state.hidden.has(methods[line.method].name)).map((line) => ({
      name: methods[line.method].name, number: line.method, dashed: methods[line.method].control, x: line.x, y: line.y, half: line.half,
    }));
    const most = Math.max(...mine.map((line) => line.n));
    return mine.length ? [chart(metric.name, `, mean of ${most} and its 95 % interval`, shown, rangeOf(mine))] : [];
  });
  byId("charts").replaceChildren(...charts);
}

/** From 0, or below, to the next round number above all curves and their bands. */
function rangeOf(lines) {
  const ends = lines.flatMap((line) => line.y.flatMap((y, at) => [y - (line.half?.[at] ?? 0), y + (line.half?.[at] ?? 0)]));
  const low = Math.min(0, ...lines.flatMap((line) => line.y));
  const high = Math.max(...ends, 0.01);
  const step = roundStep(high - low);
  return [Math.floor(low / step) * step, Math.ceil(high / step - 1e-9) * step];
}

/** 1, 2 or 5 times a power of ten, of which about four fit into a span. */
function roundStep(span) {
  const power = 10 ** Math.floor(Math.log10(span / 4));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= span / 4);
}

function ticks([low, high]) {
  const step = roundStep(high - low);
  return Array.from({ length: Math.floor((high - low) / step + 1e-9) + 1 }, (_, at) => low + at * step);
}

/** Methods that have curves by number: methods, then the controls that all share, then maps of other photos. */
function withCurves() {
  const { curves, methods } = group();
  const rank = (number) => (methods[number].control ? (methods[number].name.startsWith("other@") ? 2 : 1) : 0);
  return [...new Set(curves.map((line) => line.method))].sort((a, b) => rank(a) - rank(b) || a - b);
}

/** At first only so many lines are shown that they can be told apart. */
function hideMany() {
  const { methods } = group();
  const rest = withCurves().slice(MOST_LINES);
  state.hidden = new Set(rest.map((number) => methods[number].name));
  state.folded = rest.length > 0;
}

/** A button a method that hides and shows its lines. */
function drawLegend() {
  const { methods } = group();
  const known = withCurves();
  const buttons = known.slice(0, state.folded ? MOST_LINES : known.length).map((number) => legendButton(methods[number], number));
  if (state.folded) {
    const more = element("button", { type: "button", class: "more" }, `${known.length - MOST_LINES} more …`);
    more.addEventListener("click", () => {
      state.folded = false;
      drawLegend();
      byId("legend").children[MOST_LINES].focus();
    });
    buttons.push(more);
  }
  byId("legend").replaceChildren(...buttons);
}

function legendButton(method, number) {
  const line = svg("line", { x1: 0, x2: 26, y1: 5, y2: 5, class: `curve ${colour(number)}${method.control ? " dashed" : ""}` });
  const sample = svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, line);
  const button = element("button", { type: "button", "aria-pressed": String(!state.hidden.has(method.name)) }, sample, method.name);
  button.addEventListener("click", () => {
    if (!state.hidden.delete(method.name)) state.hidden.add(method.name);
    button.setAttribute("aria-pressed", String(!state.hidden.has(method.name)));
    drawCurves();
  });
  return button;
}
