// SPDX-License-Identifier: Apache-2.0
// Keeps a page that shows something running up to date. Every page is complete without it.
"use strict";

const SECONDS = 3;

async function refresh() {
  const parts = document.querySelectorAll("[data-live]");
  if (!parts.length) return;
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The farm is away for a moment: the page stays as it is, the next round tries again.
    }
  }
  setTimeout(refresh, SECONDS * 1000);
}

function replace(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (!next) {
      part.removeAttribute("data-live");
    } else if (next.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
      const log = part.querySelector(".log");
      const fromTop = log ? log.scrollHeight + log.scrollTop : 0; // the log is reversed: 0 is its end, above is negative
      const isAtEnd = !log || log.scrollTop > -4;
      part.innerHTML = next.innerHTML;
      const newLog = part.querySelector(".log");
      if (newLog && !isAtEnd) newLog.scrollTop = fromTop - newLog.scrollHeight;
    }
  }
  // Whatever ended stays as it is now.
  if (!fresh.querySelector("[data-live]")) {
    for (const part of document.querySelectorAll("[data-live]")) part.removeAttribute("data-live");
  }
}

setTimeout(refresh, SECONDS * 1000);
