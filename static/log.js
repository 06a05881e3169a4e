// A job's log: it follows its end while its reader looks there, holds a window of what may be a million lines, steps
// through what a search found, and copies. Chunks of lines come by htmx; each carries the links to what is around it.
// One request at a time changes the box (hx-sync), or a chunk could be dropped beside which another's lines are to go.
"use strict";

const MOST_LINES = 3000; // in the page; farther ones are dropped and come again when they are scrolled to
const NEAR_PX = 24;
const box = () => document.getElementById("log-box");
const follow = () => document.getElementById("log-follow");
const logEnd = () => document.getElementById("log-end");
const chunks = () => [...document.querySelectorAll("#log-lines > .chunk")];
const lineCount = () => chunks().reduce((sum, chunk) => sum + Number(chunk.dataset.lines), 0);
const isEnd = () => logEnd().dataset.state !== "later"; // what is shown last is the last there is
const nearEnd = () => box().scrollHeight - box().scrollTop - box().clientHeight < NEAR_PX;
let lastTop = 0; // where the box was when it last scrolled
let fromEnd = 0; // how far its place was from its end before a swap

function toEnd() {
  box().scrollTop = box().scrollHeight;
  lastTop = box().scrollTop;
}

function toHit() {
  const hit = box().querySelector(".hit");
  if (!hit) return false;
  follow().checked = false;
  box().scrollIntoView({ block: "nearest" });
  box().scrollTop = hit.offsetTop - box().clientHeight / 2;
  lastTop = box().scrollTop;
  return true;
}

// Whoever scrolls up reads on in peace; whoever comes back to the end follows it again.
document.addEventListener(
  "scroll",
  (event) => {
    if (event.target !== box()) return;
    const up = box().scrollTop < lastTop;
    lastTop = box().scrollTop;
    if (isEnd() && nearEnd()) follow().checked = true;
    else if (up) follow().checked = false;
  },
  true,
);
document.addEventListener("change", (event) => {
  if (!event.target.closest("#log .tools .tick")) return;
  if (event.target === follow() && follow().checked && !isEnd()) {
    htmx.ajax("GET", box().dataset.end, { source: box(), target: box(), swap: "innerHTML" });
  } else if (follow().checked) toEnd();
});
window.addEventListener("resize", () => {
  if (box() && follow().checked) toEnd();
});

document.addEventListener("htmx:beforeRequest", (event) => {
  // Who does not follow keeps what they read: the window is full, the rest waits.
  if (event.detail.elt === logEnd() && !follow().checked && lineCount() >= MOST_LINES) event.preventDefault();
});
document.addEventListener("htmx:beforeSwap", () => {
  if (box()) fromEnd = box().scrollHeight - box().scrollTop;
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (!box() || !event.detail.target.closest("#log")) return;
  tellTimes();
  const asker = event.detail.requestConfig.elt;
  if (asker.matches(".earlier")) {
    box().scrollTop = box().scrollHeight - fromEnd;
    dropLast();
  } else {
    dropFirst();
  }
  if (asker.closest(".hits")) toHit();
  else if (follow().checked) toEnd();
  lastTop = box().scrollTop;
});

function dropFirst() {
  while (lineCount() > MOST_LINES && chunks().length > 1) {
    const height = box().scrollHeight;
    chunks()[0].remove();
    box().scrollTop -= height - box().scrollHeight;
  }
}

function dropLast() {
  if (lineCount() <= MOST_LINES) return;
  while (lineCount() > MOST_LINES && chunks().length > 1) chunks().at(-1).remove();
  // Its last line is no longer the log's: the last chunk's link to what is later shows now.
  const end = Object.assign(document.createElement("div"), { id: "log-end" });
  end.dataset.state = "later";
  logEnd().replaceWith(end);
  for (const stream of "oe") document.getElementById(`log-bar-${stream}`).replaceChildren();
}

// Times of day are told once each: a log has thousands.
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" }); // 14:02:07: the narrowest
function tellTimes() {
  for (const time of box().querySelectorAll("time:not([data-told])")) {
    const moment = new Date(time.dateTime);
    time.textContent = clock.format(moment);
    time.title = moment.toLocaleString();
    time.dataset.told = "";
  }
}

// What a search found, hit by hit.
document.addEventListener("click", (event) => {
  const hits = [...document.querySelectorAll("#log-hit-list a:not(.onward)")];
  const { hit, hitsClose } = event.target.dataset;
  if (hit && hits.length) {
    const at = hits.findIndex((each) => each.ariaCurrent);
    hits[at < 0 && hit < 0 ? hits.length - 1 : (at + Number(hit) + hits.length) % hits.length].click();
  }
  if (hitsClose !== undefined) document.getElementById("log-hits").replaceChildren();
  const chosen = event.target.closest("#log-hit-list a:not(.onward)");
  if (!chosen) return;
  for (const each of hits) each.ariaCurrent = each === chosen ? "true" : null;
  chosen.scrollIntoView({ block: "nearest" });
});

// Copies what is selected in the log, or all of it that is in the page. A page that came by plain HTTP may not use the
// clipboard; there a field that is selected is copied.
document.addEventListener("click", async (event) => {
  if (event.target.dataset.copy === undefined) return;
  const selection = getSelection();
  const selected = selection.containsNode(box(), true) ? selection.toString() : "";
  const text = selected || shownText();
  await (navigator.clipboard ? navigator.clipboard.writeText(text) : copyField(text));
  const count = text ? text.split("\n").length : 0;
  document.getElementById("log-told").textContent = `Copied ${count === 1 ? "1 line" : `${count} lines`}.`;
});

function shownText() {
  const times = document.getElementById("log-times").checked;
  return [...box().querySelectorAll(".row, .chunk > .words")]
    .map((row) => {
      const text = (row.querySelector(".text") || row).textContent;
      const time = row.querySelector("time");
      return times && time ? `${time.textContent} ${text}` : text;
    })
    .join("\n");
}

function copyField(text) {
  const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

if (box()) {
  tellTimes();
  if (!toHit() && follow().checked) toEnd();
}
