let detailEntry = 0;

/** Everything known of one photo, in a dialog. */
function showDetail(number) {
  detailEntry = number;
  const entry = group().entries[number];
  const photo = data.photos[entry.photo];
  byId("detail-title").textContent = `${photo.path} · ${targetText(entry)}`;
  byId("detail-body").replaceChildren(
    ...figures(entry, "larger"), element("h3", {}, "Scores"), scoreTable(entry), ...entryCurves(entry), element("h3", {}, "Stamps"), stamps(entry, photo),
  );
  const at = shownEntries.indexOf(number);
  byId("previous").disabled = at <= 0;
  byId("next").disabled = at < 0 || at + 1 >= shownEntries.length;
  if (!byId("detail").open) byId("detail").showModal();
  byId("detail").scrollTop = 0;
}

function scoreTable(entry) {
  const { methods, metrics } = group();
  const head = element("tr", {}, element("th", { scope: "col" }, "method"), ...metrics.map((metric) => element("th", { scope: "col", class: "figure" }, metric.name)));
  const rows = methods.map((method, number) => element("tr", {}, element("th", { scope: "row" }, method.name),
    ...metrics.map((_, metric) => element("td", { class: "figure" }, scoreNode(entry, number, metric)))));
  const table = element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores of this photo" }, table);
}

function entryCurves(entry) {
  const { methods, metrics, ranges, grids } = group();
  const charts = metrics.flatMap((metric, at) => {
    const [low, high] = ranges[at];
    const series = methods.flatMap((method, number) => {
      const kept = entry.curves[`${number},${at}`];
      if (!kept) return [];
      const y = Array.from(bytes(kept[1]), (step) => low + ((high - low) * step) / 255);
      return [{ name: method.name, number, dashed: method.control, x: grids[kept[0]], y }];
    });
    return series.length ? [chart(metric.name, "", series, ranges[at])] : [];
  });
  return charts.length ? [element("h3", {}, "Curves"), element("div", { class: "charts" }, ...charts)] : [];
}

function stamps(entry, photo) {
  const lines = [
    ["photo", photo.frame ? `${photo.hash} (frame ${photo.frame})` : photo.hash], ["subject", entry.subject],
    ["target", entry.target], ["model", `${group().model} ${group().fingerprint}`.trim()],
  ];
  group().methods.forEach((method, number) => {
    if (entry.maps[number]) lines.push([`range of ${method.name}`, entry.maps[number].range.join(" to ")]);
  });
  return element("dl", { class: "stamps" }, ...lines.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, element("code", {}, text))]));
}

function step(by) {
  const at = shownEntries.indexOf(detailEntry) + by;
  if (at >= 0 && at < shownEntries.length) showDetail(shownEntries[at]);
}

function prepareDetail() {
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => byId("detail").close());
  byId("detail").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  byId("detail").addEventListener("click", (event) => {
    if (event.target === byId("detail")) byId("detail").close();
  });
}
