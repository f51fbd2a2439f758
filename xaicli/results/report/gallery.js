let cards = [];
let shownEntries = [];

// Cards are filled when they come near the screen and emptied when they leave, so that thousands cost what a screenful costs.
const near = new IntersectionObserver((changes) => {
  for (const change of changes) {
    const card = change.target;
    if (change.isIntersecting && !card.childElementCount) {
      fillCard(card);
    } else if (!change.isIntersecting && card.childElementCount && !card.contains(document.activeElement)) {
      card.style.minHeight = `${card.offsetHeight}px`;
      card.replaceChildren();
    }
  }
}, { rootMargin: "1200px 0px" });

function makeCards() {
  for (const card of cards) near.unobserve(card);
  cards = group().entries.map((_, number) => element("li", { class: "card", "data-entry": number }));
  for (const card of cards) near.observe(card);
}

/** What an entry is ordered by: its value under the chosen metric and method (their mean), higher is worse; null goes first. */
function badness(entry) {
  const { methods, metrics } = group();
  const wanted = state.method >= 0 ? [state.method] : methods.flatMap((method, number) => (method.control ? [] : [number]));
  const values = wanted.map((method) => valueOf(entry, method, state.metric)).filter((value) => value !== null);
  if (!values.length) return null;
  if (state.order === "spread") return Math.max(...values) - Math.min(...values);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return metrics[state.metric].direction === "higher" ? -mean : mean;
}

function ordered(entries) {
  const path = (number) => data.photos[entries[number].photo].path;
  const byName = (a, b) => path(a).localeCompare(path(b), undefined, { numeric: true }) || a - b;
  const numbers = entries.map((_, number) => number);
  if (state.order === "name") return numbers.sort(byName);
  const keys = entries.map(badness);
  const turn = state.order === "best" ? -1 : 1;
  return numbers.sort((a, b) => {
    if (keys[a] === null || keys[b] === null) return ((keys[b] === null) - (keys[a] === null)) * turn || byName(a, b);
    return (keys[b] - keys[a]) * turn || byName(a, b);
  });
}

function matches(entry) {
  const statuses = Object.values(entry.statuses).join(" ");
  const text = `${data.photos[entry.photo].path} ${entry.name} ${entry.target} ${statuses}`.toLowerCase();
  return state.filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** Put the cards that match in order; the others leave the page. */
function arrange() {
  const entries = group().entries;
  shownEntries = ordered(entries).filter((number) => matches(entries[number]));
  for (const card of cards) card.replaceChildren();
  byId("cards").replaceChildren(...shownEntries.map((number) => cards[number]));
  const total = entries.length.toLocaleString("en");
  byId("count").textContent = state.filter ? `${shownEntries.length.toLocaleString("en")} of ${total} shown` : `${total} shown`;
  // An observer reports changes only, and a card that stays on screen does not change.
  for (const number of shownEntries) {
    near.unobserve(cards[number]);
    near.observe(cards[number]);
  }
}
