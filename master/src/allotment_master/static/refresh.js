// SPDX-License-Identifier: Apache-2.0
// Keeps the overview up to date. The page is complete without it.
"use strict";

const SECONDS = 5;

async function refresh() {
  const main = document.getElementById("content");
  if (!document.hidden && !main.contains(document.activeElement) && document.getSelection().isCollapsed) {
    try {
      const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const id of ["content", "moment"]) {
          const next = fresh.getElementById(id);
          const part = document.getElementById(id);
          if (next && part && next.innerHTML !== part.innerHTML) part.innerHTML = next.innerHTML;
        }
      }
    } catch {
      // The master is away for a moment: the page stays as it is, the next round tries again.
    }
  }
  setTimeout(refresh, SECONDS * 1000);
}

setTimeout(refresh, SECONDS * 1000);
