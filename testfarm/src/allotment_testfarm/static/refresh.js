// SPDX-License-Identifier: Apache-2.0
// Keeps a page up to date: often while something on it runs, now and then while nothing does, never while it is hidden.
// What has not changed is a 304 without a body. Every page is complete without it.
"use strict";

const MOVING = 2000; // milliseconds
const STILL = 10000;
let timer;
let known = "";

async function refresh() {
  clearTimeout(timer);
  if (document.hidden || !document.querySelector("[data-live]")) return;
  if (getSelection().isCollapsed) {
    try {
      const answer = await fetch(address(), { headers: { Accept: "text/html" } });
      const tag = answer.headers.get("ETag");
      if (answer.ok && tag !== known) update(new DOMParser().parseFromString(await answer.text(), "text/html"));
      known = tag;
    } catch {
      // The farm is away for a moment: the page stays as it is, the next round tries again.
    }
  }
  wait();
}

// Returns the page's address, with a query that leaves out a large part which does not change or has a stream of its own.
function address() {
  const url = new URL(location.href);
  const rest = document.querySelector("[data-rest]:not([data-live])");
  if (rest) url.search += (url.search ? "&" : "?") + rest.dataset.rest;
  return url;
}

function wait() {
  timer = setTimeout(refresh, document.querySelector("[data-live]:not([data-live=still])") ? MOVING : STILL);
}

function update(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (next && next.innerHTML !== part.innerHTML) replace(part, next.innerHTML);
    if (next?.hasAttribute("data-live")) part.dataset.live = next.dataset.live;
    else part.removeAttribute("data-live");
  }
  document.title = fresh.title;
}

// Puts the new content in; what is scrolled, open or has the focus stays so.
function replace(part, html) {
  const boxes = [...part.querySelectorAll(".scroll")].map(position);
  const open = [...part.querySelectorAll("details")].map((details) => details.open);
  const focused = part.contains(document.activeElement) ? nameOf(document.activeElement) : "";
  part.innerHTML = html;
  document.dispatchEvent(new Event("refreshed")); // scripts of the page's own begin anew
  part.querySelectorAll(".scroll").forEach((box, index) => boxes[index]?.(box));
  part.querySelectorAll("details").forEach((details, index) => (details.open = open[index] ?? details.open));
  if (focused) {
    const again = [...part.querySelectorAll("a, summary, [tabindex]")].find((item) => nameOf(item) === focused);
    again?.focus({ preventScroll: true });
  }
}

// Returns what scrolls a new box to where `box` is. A log is reversed: 0 is its end, to which it stays.
function position(box) {
  const { scrollLeft, scrollTop, scrollHeight } = box;
  if (!box.classList.contains("log")) return (next) => next.scrollTo(scrollLeft, scrollTop);
  if (scrollTop > -4) return () => {};
  return (next) => next.scrollTo(scrollLeft, scrollTop + scrollHeight - next.scrollHeight);
}

function nameOf(item) {
  return item.tagName + (item.getAttribute("href") ?? item.getAttribute("aria-label") ?? "");
}

document.addEventListener("visibilitychange", refresh);
wait();
