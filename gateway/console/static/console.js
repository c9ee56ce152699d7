// Puts what the server sends in the place of the tables. All of it is HTML that the server has made.
const tables = document.getElementById("tables");
const state = document.getElementById("state");
const AGAIN_MS = 5000;
let news = null;

function show() {
  // What somebody has marked, to copy it, stays as it is.
  const marked = getSelection();
  if (news === null || (!marked.isCollapsed && tables.contains(marked.anchorNode))) return;
  const regions = () => [...tables.querySelectorAll(".wide")];
  const stops = () => [...tables.querySelectorAll("a, .wide")];
  const before = regions().map((each) => each.scrollLeft);
  const focused = stops().indexOf(document.activeElement);
  tables.innerHTML = news;
  news = null;
  regions().forEach((each, at) => { each.scrollLeft = before[at] || 0; });
  if (focused >= 0) stops()[focused]?.focus({ preventScroll: true });
}

function tell(text, kind) {
  if (state.textContent === text) return;
  state.textContent = text;
  state.className = kind;
}

function follow() {
  const events = new EventSource(tables.dataset.live);
  events.onopen = () => tell("Changes by itself", "good");
  events.onmessage = (event) => { news = event.data; show(); };
  events.onerror = () => {
    tell("Does not change now: the gateway does not answer. Trying again", "warn");
    // Where it has refused, the browser does not try again.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS);
  };
}

if (tables?.dataset.live) {
  document.addEventListener("selectionchange", show);
  follow();
}
