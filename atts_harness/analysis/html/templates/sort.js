// Tables sort by the buttons in their headings; a second press turns the order round.

const byValue = (one, two) => {
  // What is not known comes last, whichever way the order goes.
  if (one === "" || two === "") return one === two ? 0 : one === "" ? 2 : -2;
  const [x, y] = [Number(one), Number(two)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return one.localeCompare(two, "en", { numeric: true });
};

const ordered = (items, valueOf, descending) =>
  items
    .map((item, place) => ({ item, place, value: String(valueOf(item) ?? "") }))
    .sort((one, two) => {
      const found = byValue(one.value, two.value);
      const turned = Math.abs(found) === 2 && (one.value === "" || two.value === "") ? found / 2 : descending ? -found : found;
      return turned || one.place - two.place;
    })
    .map(({ item }) => item);

// A first press on a number shows the largest first, on a name the first.
const nextOrder = (heading) => {
  const now = heading.getAttribute("aria-sort");
  const first = heading.classList.contains("n") ? "descending" : "ascending";
  const next = now === null ? first : now === "ascending" ? "descending" : "ascending";
  for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", next);
  return next === "descending";
};

for (const table of document.querySelectorAll("table.sortable")) {
  for (const button of table.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const column = heading.cellIndex;
      const descending = nextOrder(heading);
      const body = table.tBodies[0];
      body.append(...ordered([...body.rows], (row) => row.cells[column].dataset.value, descending));
    });
  }
}
