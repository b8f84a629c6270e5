// SPDX-License-Identifier: Apache-2.0
// The table of many releases: arrow keys go from cell to cell, and a strip tells which revision is under the pointer.
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

// Returns the next link below, above or beside one; where a row has no job, the one after that.
function neighbour(link, down, right) {
  const row = link.closest("tr");
  if (right) {
    const links = [...row.querySelectorAll("a")];
    return links[links.indexOf(link) + right];
  }
  const rows = [...link.closest(".grid").rows];
  const place = left(link.closest("th, td"));
  for (let index = rows.indexOf(row) + down; index >= 0 && index < rows.length; index += down) {
    const found = [...rows[index].cells].find((cell) => left(cell) === place)?.querySelector("a");
    if (found) return found;
  }
  return undefined;
}

function left(cell) {
  let columns = 0;
  for (let before = cell.previousElementSibling; before; before = before.previousElementSibling) columns += before.colSpan;
  return columns;
}
