"use strict";
// Tables sort by a click on a heading: numbers by value, text by letters, what has no value last either way.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if ("still" in heading.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rising = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const numeric = heading.classList.contains("n");
      const key = (row) => {
        const cell = row.cells[column];
        return numeric ? ("v" in cell.dataset ? Number(cell.dataset.v) : null) : cell.textContent || null;
      };
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
        return rising ? order : -order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
