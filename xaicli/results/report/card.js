function valueOf(entry, method, metric) {
  return entry.values[method * group().metrics.length + metric];
}

function statusOf(entry, method, metric) {
  return entry.statuses[`${method},${metric}`] ?? null;
}

/** A score as text: the number, marked if the map was fitted to the metric, or why there is none. */
function scoreNode(entry, method, metric) {
  const value = valueOf(entry, method, metric);
  if (value !== null) return element("b", {}, figure(value) + (group().methods[method].fitted.includes(metric) ? "†" : ""));
  const status = statusOf(entry, method, metric);
  return element("b", { class: status ? "bad" : "" }, status ?? "–");
}

function targetText(entry) {
  return entry.name && entry.name !== entry.target ? `${entry.name} (${entry.target})` : entry.target;
}

/** A label that may break before each of its parameters. */
function breakable(label) {
  return label.split(/(?=@)/).flatMap((part, number) => (number ? [element("wbr"), part] : [part]));
}

/** What a picture of a map shows, for those who do not see it. */
function described(entry, method) {
  return `${nameOf(data.photos[entry.photo].path)}, what ${method.name} marks for ${targetText(entry)}`;
}

/** The photo and the map of each method side by side; methods without a map by their number alone. */
function figures(entry, holder) {
  const strip = element("div", { class: holder });
  strip.append(element("figure", {}, picture(entry.photo, null, nameOf(data.photos[entry.photo].path), entry.region), element("figcaption", {}, "photo")));
  const bare = element("ul", { class: "numbers" });
  group().methods.forEach((method, number) => {
    if (method.control) return;
    const map = entry.maps[number];
    const score = scoreNode(entry, number, state.metric);
    if (map) {
      strip.append(element("figure", {}, picture(entry.photo, map, described(entry, method), entry.region), element("figcaption", {}, ...breakable(method.name), " ", score)));
    } else {
      bare.append(element("li", {}, `${method.name} `, score));
    }
  });
  return bare.childElementCount ? [strip, bare] : [strip];
}

function fillCard(card) {
  const entry = group().entries[Number(card.dataset.entry)];
  const open = element("button", { type: "button", class: "open", "aria-haspopup": "dialog" }, nameOf(data.photos[entry.photo].path));
  open.title = data.photos[entry.photo].path;
  open.addEventListener("click", () => showDetail(Number(card.dataset.entry)));
  card.replaceChildren(element("header", {}, open, element("span", { class: "target" }, targetText(entry))), ...figures(entry, "strip"));
}
