// The script of every page; a job's log has one more. Every page works without it; it keeps what is shown alive and lets people's
// own doing (focus, typed text, ticks, open details, scroll) through every refresh.
"use strict";

const SECOND = 1000;
const tags = new Map(); // path of a fragment -> ETag of what is shown
let ahead = 0; // how far this clock is ahead of the server's, in ms
let heardAt = performance.now(); // when the server last answered

// Idiomorph would take back what a person ticked, typed or opened.
Idiomorph.defaults.ignoreActiveValue = true;
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
  !(name === "open" || ((name === "checked" || name === "value") && node.matches("input, select, textarea")));

// Fragments: nobody polls for a page that nobody sees, or for what has not changed.
document.addEventListener("htmx:configRequest", (event) => {
  const tag = tags.get(event.detail.path);
  if (tag) event.detail.headers["If-None-Match"] = tag;
  if (event.detail.verb !== "get") event.detail.headers["X-CSRFToken"] = meta("csrf-token");
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) htmx.trigger(document.body, "pool:refresh");
});
document.addEventListener("htmx:afterSwap", () => {
  tellAges();
  tellPicked();
});
document.addEventListener("htmx:afterRequest", (event) => {
  const { xhr, pathInfo } = event.detail;
  gone = xhr.status === 0 || xhr.status >= 500;
  answers = xhr.status !== 0;
  tellSilence();
  if (gone) return;
  heardAt = performance.now();
  const tag = xhr.getResponseHeader("ETag");
  if (xhr.status === 200 && tag) tags.set(pathInfo.requestPath, tag);
  const date = Date.parse(xhr.getResponseHeader("Date"));
  if (date) ahead = Date.now() - date - SECOND / 2;
});

// A server that is gone, or cannot answer: said when a poll failed, with how long ago it last answered.
let gone = false;
let answers = false;
const away = { true: "The server cannot reach its database or Redis", false: "Cannot reach the server" };
function tellSilence() {
  document.body.classList.toggle("gone", gone);
  document.getElementById("gone").hidden = !gone;
  if (!gone) return;
  write(document.getElementById("gone-what"), away[answers]);
  write(document.getElementById("gone-for"), duration((performance.now() - heardAt) / SECOND));
}

// Ages and times of day are told here: a fragment in which only they change is never sent again.
function tellAges() {
  const now = Date.now() - ahead;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    write(time, duration((now - Date.parse(time.dateTime)) / SECOND) + time.dataset.suffix);
    time.title = new Date(time.dateTime).toLocaleString();
  }
  for (const time of document.querySelectorAll("time[data-at]")) {
    const moment = new Date(time.dateTime);
    const today = moment.toDateString() === new Date(now).toDateString();
    write(time, today ? moment.toLocaleTimeString() : moment.toLocaleString());
    time.title = moment.toLocaleString();
  }
}

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What cannot be undone is asked first; without this script the button acts at once.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    event.preventDefault();
    document.getElementById(opener.dataset.dialog).showModal();
  }
  const closing = event.target.closest("[data-close]")?.closest("dialog"); // elsewhere it is a link
  if (closing) {
    event.preventDefault();
    closing.close();
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// Workers that are ticked: counted in the bar beneath them, which is there while any is.
const picks = () => [...document.querySelectorAll('input[form="bulk"]')];
function tellPicked() {
  const bar = document.getElementById("bulk");
  if (!bar) return;
  const all = bar.elements.all.checked;
  const rows = document.querySelector("[data-matching]");
  if (rows) write(document.getElementById("matching"), rows.dataset.matching);
  const count = all ? Number(document.getElementById("matching").textContent) : picks().filter((box) => box.checked).length;
  bar.classList.toggle("some", count > 0 || all);
  write(document.getElementById("picked"), `${count} selected`);
}
document.addEventListener("change", tellPicked);
document.addEventListener("click", (event) => {
  const { pick, dismiss } = event.target.dataset;
  if (pick) {
    for (const box of picks()) box.checked = pick === "page";
    document.getElementById("bulk").elements.all.checked = false;
    tellPicked();
  }
  if (dismiss) document.getElementById(dismiss).remove();
});

// A link to a checkpoint opens the list that it is in.
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  const list = target && target.closest("details");
  if (list && !list.open) {
    list.open = true;
    target.scrollIntoView();
  }
}
window.addEventListener("hashchange", openTarget);

// A filter's empty fields stay out of the URL; a form is sent once.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method === "get") {
    for (const field of form.querySelectorAll("input, select")) field.disabled = field.value === "";
  } else if (form.dataset.sent) {
    event.preventDefault();
  } else {
    form.dataset.sent = "yes";
  }
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
  for (const field of document.querySelectorAll("form[method=get] :disabled")) field.disabled = false;
});

function meta(name) {
  return document.querySelector(`meta[name="${name}"]`).content;
}

document.documentElement.classList.add("scripted"); // what only this script can do is shown from here on
tellAges();
tellPicked();
openTarget();
setInterval(() => {
  tellAges();
  if (gone) tellSilence();
}, SECOND);
