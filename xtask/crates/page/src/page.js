"use strict";
// The page is whole without this: it only filters the findings, and opens on paper what is folded on a screen.
(() => {
  const filters = document.getElementById("filters");
  if (filters) {
    const output = filters.querySelector("output");
    const rules = [...document.querySelectorAll("section.rule")].map((section) => ({
      section,
      items: [...section.querySelectorAll(".findings li")].map((item) => ({
        item,
        text: item.textContent.toLowerCase(),
        rule: [item.dataset.rule],
        steps: item.dataset.steps.split("|"),
        severity: [item.dataset.severity],
      })),
    }));
    const listed = rules.reduce((sum, rule) => sum + rule.items.length, 0);
    const apply = () => {
      const chosen = new FormData(filters);
      const words = chosen.get("text").toLowerCase().split(/\s+/).filter(Boolean);
      const fits = (one) =>
        ["rule", "steps", "severity"].every((key) => !chosen.get(key) || one[key].includes(chosen.get(key))) &&
        words.every((word) => one.text.includes(word));
      let shown = 0;
      for (const { section, items } of rules) {
        let here = 0;
        for (const one of items) {
          one.item.hidden = !fits(one);
          here += one.item.hidden ? 0 : 1;
        }
        section.hidden = here === 0;
        shown += here;
      }
      const all = Number(output.dataset.all);
      const beyond = listed < all ? `, of ${all} in all` : "";
      output.textContent = `${shown} of ${listed} shown${beyond}`;
    };
    filters.addEventListener("input", apply);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.hidden = false;
    apply();
  }

  const folded = () => document.querySelectorAll("details:not([open])");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...folded()];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
  });
})();
