function options(select, names, chosen) {
  select.replaceChildren(...names.map(([value, name]) => element("option", { value }, name)));
  select.value = String(chosen);
}

/** Show the group that was chosen: its table, its curves, its photos. */
function showGroup() {
  const { metrics, methods } = group();
  for (const section of document.querySelectorAll("section[data-group]")) section.hidden = Number(section.dataset.group) !== state.group;
  state.metric = Math.max(0, metrics.findIndex((metric) => metric.direction !== "neither"));
  state.method = -1;
  options(byId("metric"), metrics.map((metric, number) => [number, metric.name]), state.metric);
  options(byId("method"), [[-1, "all methods"], ...methods.map((method, number) => [number, method.name])], state.method);
  hideMany();
  drawLegend();
  drawCurves();
  makeCards();
  arrange();
}

function prepareTools() {
  let waiting = 0;
  byId("filter").addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      state.filter = byId("filter").value.trim();
      arrange();
    });
  });
  for (const name of ["metric", "method"]) {
    byId(name).addEventListener("change", () => {
      state[name] = Number(byId(name).value);
      arrange();
    });
  }
  byId("order").addEventListener("change", () => {
    state.order = byId("order").value;
    arrange();
  });
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  byId("group")?.addEventListener("change", () => {
    state.group = Number(byId("group").value);
    showGroup();
  });
}

document.querySelectorAll("table.scores").forEach(sortable);
prepareTools();
prepareDetail();
showGroup();
