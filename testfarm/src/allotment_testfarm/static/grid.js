// SPDX-License-Identifier: Apache-2.0
// The table of many releases: it is one stop of the Tab key, in which arrow keys go from cell to cell. The corner tells what is under the pointer or has the
// focus. On a strip that is a revision, whose name is asked for when it is first wanted.
"use strict";

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], k: [-1, 0], j: [1, 0], h: [0, -1], l: [0, 1] };

document.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  const from = document.activeElement;
  if (!step || event.ctrlKey || event.metaKey || event.altKey || !from.closest(".grid")) return;
  const to = neighbour(from, ...step);
  if (!to) return;
  event.preventDefault();
  to.focus();
  to.scrollIntoView({ block: "nearest", inline: "nearest" });
});

let stop; // the one link of the table that the Tab key reaches: where the focus was last
let isOneStop = false; // not before that key is used: thousands of links take a while, and the page is to be there at once

document.addEventListener("keydown", ({ key }) => key === "Tab" && !isOneStop && begin(), { capture: true });
document.addEventListener("refreshed", () => {
  stop = undefined;
  isOneStop = false;
});

function begin() {
  for (const link of document.querySelectorAll(".grid a")) link.tabIndex = -1;
  stop ??= document.querySelector(".grid tbody a");
  if (stop) stop.tabIndex = 0; // a refreshed page may have no table any more
  isOneStop = true;
}

document.addEventListener("focusin", ({ target }) => {
  if (!target.closest(".grid a")) return;
  if (isOneStop) stop.tabIndex = -1;
  stop = target;
  if (isOneStop) stop.tabIndex = 0;
});

// Returns the next link below, above or beside one; where a row has no job, the one after that.
function neighbour(link, down, right) {
  const row = link.closest("tr");
  if (right) {
    const links = [...row.querySelectorAll("a")];
    return links[links.indexOf(link) + right];
  }
  const rows = [...link.closest(".grid").rows];
  const place = link.closest("th, td").cellIndex;
  for (let index = rows.indexOf(row) + down; index >= 0 && index < rows.length; index += down) {
    const found = rows[index].cells[place]?.querySelector("a");
    if (found) return found;
  }
  return undefined;
}

document.addEventListener("pointerover", (event) => tell(event.target.closest?.(".grid td a"), event));
document.addEventListener("pointermove", (event) => tell(event.target.closest?.(".grid .past a"), event));
document.addEventListener("focusin", (event) => tell(event.target.closest?.(".grid td a")));

async function tell(link, event) {
  const line = document.querySelector(".readout");
  if (!link || !line) return;
  const release = link.closest("tr").querySelector("th a").textContent;
  if (!link.closest(".past")) {
    const column = link.closest(".grid").querySelectorAll(".commits a")[link.closest("td").cellIndex - 1];
    line.textContent = `${release}, ${link.ariaLabel}: ${column.title}`;
    return;
  }
  if (!event) return;
  const { newest, past, project } = link.closest(".grid").dataset;
  const box = link.getBoundingClientRect();
  const place = Math.min(Math.floor(((event.clientX - box.left) / box.width) * past), past - 1);
  const position = newest - Math.max(place, 0);
  const revision = (await revisions(project, Number(newest), Number(past))).get(position);
  if (revision) line.textContent = `${release}: ${revision.commit.slice(0, 10)} ${revision.subject}`;
  link.search = new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(link.search)), before: position + 1 });
}

let asked;

function revisions(project, newest, past) {
  const query = new URLSearchParams({ project, before: newest + 1, limit: past });
  asked ??= fetch(`/api/v1/revisions?${query}`)
    .then((answer) => answer.json())
    .then((page) => new Map(page.items.map((revision) => [revision.position, revision])))
    .catch(() => new Map()); // the farm is away: strips have no names until the page is loaded again
  return asked;
}
