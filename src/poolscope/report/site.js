{
  // Claims are shown by their verdict: a button for each that there is, made here, since without a script it does nothing.
  const table = document.querySelector("table.claims");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const tiles = [...document.querySelectorAll("a[data-show]")];
  const group = document.createElement("div");
  const status = document.createElement("p");
  const show = (verdict) => {
    rows.forEach((row) => { row.hidden = verdict !== "" && row.dataset.verdict !== verdict; });
    for (const button of group.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === verdict));
    status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  const add = (verdict, ...content) => {
    const button = document.createElement("button");
    button.type = "button";
    button.value = verdict;
    button.append(...content);
    button.addEventListener("click", () => show(verdict));
    group.append(button);
  };
  if (rows.length) {
    group.className = "filter";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Which claims to show");
    status.className = "small";
    status.setAttribute("role", "status");
    add("", "all");
    for (const tile of tiles) {
      if (!rows.some((row) => row.dataset.verdict === tile.dataset.show)) continue;
      add(tile.dataset.show, ...[...tile.querySelector(".badge").cloneNode(true).childNodes]);
      tile.addEventListener("click", () => show(tile.dataset.show));
    }
    group.append(status);
    document.querySelector(".filterplace").append(group);
    show("");
  }
}
