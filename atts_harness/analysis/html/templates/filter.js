// One filter for the leaderboard, the comparisons and the figures: what belongs to a row that does
// not match is hidden, and the frontiers are drawn anew through the points that are left.

const page = JSON.parse(document.getElementById("data").textContent);
const filters = document.getElementById("filters");

const matches = (row) => {
  const words = document.getElementById("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.every((word) => row.text.includes(word))) return false;
  return [...filters.querySelectorAll("select[data-filter]")].every(
    (select) => !select.value || row[select.dataset.filter] === select.value,
  );
};

const drawFrontier = (frontier) => {
  const points = [...frontier.ownerSVGElement.querySelectorAll("[data-px]:not(.off)")]
    .map((point) => [Number(point.dataset.px), Number(point.dataset.py)])
    .sort((one, two) => one[0] - two[0] || one[1] - two[1]);
  const line = [];
  for (const point of points) {
    // Down is more in an SVG: a smaller second coordinate is a better accuracy.
    if (!line.length || point[1] < line[line.length - 1][1]) line.push(point);
  }
  const path = line.map(([x, y], place) => `${place ? "L" : "M"} ${x} ${y}`).join(" ");
  frontier.querySelector("path").setAttribute("d", path);
};

const applyFilter = () => {
  const shown = new Set(Object.keys(page.rows).filter((id) => matches(page.rows[id])));
  for (const element of document.querySelectorAll("[data-row]")) {
    const rows = element.dataset.row.split(" ");
    const has = (id) => shown.has(id);
    // A name of several rows stays while any of them is there; a line between two needs both.
    const off = !(element.dataset.any ? rows.some(has) : rows.every(has));
    if (element instanceof SVGElement) element.classList.toggle("off", off);
    else element.hidden = off;
  }
  for (const part of document.querySelectorAll("#leaderboard .part")) {
    part.querySelector(".nothing").hidden = part.querySelector("tbody tr:not([hidden])") !== null;
  }
  document.querySelectorAll("[data-frontier]").forEach(drawFrontier);
  const all = Object.keys(page.rows).length;
  document.getElementById("count").textContent = `${shown.size} of ${all} rows`;
};

filters.addEventListener("input", applyFilter);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => setTimeout(() => { showColumns(); applyFilter(); }));

const columns = document.getElementById("columns");
const showColumns = () => {
  document.body.classList.toggle("all-columns", columns.checked);
  // A heading of a group spans the columns that are shown.
  for (const group of document.querySelectorAll("th[data-all]"))
    group.colSpan = columns.checked ? group.dataset.all : group.dataset.some;
};
columns.addEventListener("change", showColumns);
