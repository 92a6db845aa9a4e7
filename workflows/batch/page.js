"use strict";
document.documentElement.classList.add("scripted");
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".swipe").forEach(swipe);
  document.querySelectorAll("[data-larger]").forEach(larger);
  const table = document.querySelector("#scenes > table");
  if (table) {
    const show = filter(table, document.querySelector("#scenes form"));
    table.querySelectorAll("thead th[data-sort]").forEach((head) => sortable(table, head));
    follow(show);
  }
});

/* The range lies over the picture: pointer, touch and keys are the browser's own. */
function swipe(element) {
  const range = element.querySelector("input");
  const move = () => {
    element.style.setProperty("--at", range.value + "%");
    range.setAttribute("aria-valuetext", range.value + " per cent input");
  };
  range.addEventListener("input", move);
  move();
}

function larger(button) {
  button.addEventListener("click", () => {
    const on = button.closest("figure").classList.toggle("larger");
    button.setAttribute("aria-pressed", String(on));
    button.closest("figure").scrollIntoView({ block: "nearest" });
  });
}

function filter(table, form) {
  const rows = [...table.tBodies].map((body) => ({
    body,
    text: body.rows[0].textContent.toLowerCase().replaceAll("\n", " "),
  }));
  const search = form.querySelector("input[type=search]");
  const apply = () => {
    const status = form.elements.status.value;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { body, text } of rows) {
      const shown =
        (!status || body.dataset.status === status) && words.every((word) => text.includes(word));
      body.hidden = !shown;
      count += shown;
    }
    form.querySelector("output").value =
      count === rows.length ? "" : count + " of " + rows.length + " scenes";
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
  return (status) => {
    search.value = "";
    form.elements.status.value = status;
    apply();
  };
}

function sortable(table, head) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const numbers = head.dataset.sort === "number";
    const first = numbers ? "descending" : "ascending";
    const other = numbers ? "ascending" : "descending";
    const direction = head.getAttribute("aria-sort") === first ? other : first;
    table.querySelectorAll("[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    table.append(...sorted([...table.tBodies], head.cellIndex, numbers, direction));
  });
}

function sorted(bodies, column, numbers, direction) {
  const value = (body) => body.rows[0].cells[column].dataset.value;
  const sign = direction === "ascending" ? 1 : -1;
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return bodies
    .map((body) => [value(body), body])
    .sort(([a], [b]) => sign * (numbers ? a - b : compare(a, b)))
    .map(([, body]) => body);
}

/* A link to a scene unfolds it, and one to a status shows that alone. */
function follow(show) {
  const unfold = () => {
    const body = /^#scene-\d+$/.test(location.hash) && document.querySelector(location.hash);
    if (body) {
      show("");
      body.querySelector("details").open = true;
      body.scrollIntoView();
    }
  };
  document.querySelectorAll("[data-show]").forEach((link) => {
    link.addEventListener("click", () => show(link.dataset.show));
  });
  document.querySelectorAll("a[href^='#scene-']").forEach((link) => {
    link.addEventListener("click", () => requestAnimationFrame(unfold));
  });
  addEventListener("hashchange", unfold);
  unfold();
}
