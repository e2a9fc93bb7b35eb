"use strict";
// The pipeline's page links its chapters with the digest of the current model; a chapter made with another one says so
// and passes the digest on to the chapters that it links.
const current = new URLSearchParams(location.search).get("model") ?? "";
if (/^[0-9a-f]{12}$/.test(current)) {
  const warning = document.querySelector(".warning");
  if (warning) {
    warning.querySelector(".current").textContent = current;
    warning.hidden = warning.dataset.model === current;
  }
  for (const link of document.querySelectorAll(".pages .chapter")) link.search = `?model=${current}`;
}

// Tables become sortable: a button in every heading; numbers by their full value, text by the alphabet, empty last.
function sortValue(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return 0;
  return a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, heading) {
  const column = heading.cellIndex;
  const numeric = heading.classList.contains("number");
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const rows = Array.from(table.tBodies[0].rows);
  const empty = (row) => (numeric && typeof sortValue(row, column) !== "number" ? 1 : 0);
  rows.sort((a, b) => {
    const order = compare(sortValue(a, column), sortValue(b, column));
    return empty(a) - empty(b) || (descending ? -order : order);
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table")) {
  for (const heading of table.tHead.rows[0].cells) {
    if (!heading.textContent.trim()) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sortBy(table, heading));
    heading.replaceChildren(button);
  }
}
