// The browse page: a grid of products by category, from /v1/items and /v1/categories.
import { answer, button, card, el, panel, skeletons } from "./common.js";

const PAGE = 24;
const category = new URLSearchParams(location.search).get("category");
const [grid, more, state, chips] = ["grid", "more", "state", "categories"].map((id) => document.getElementById(id));
let after = null;

async function page() {
  const waiting = skeletons(after ? 6 : 12);
  grid.append(...waiting);
  grid.setAttribute("aria-busy", "true");
  more.hidden = true;
  state.replaceChildren();
  const query = new URLSearchParams({ limit: PAGE });
  if (category) query.set("category", category);
  if (after) query.set("after", after);
  try {
    const got = await answer(`/v1/items?${query}`);
    const added = got.items.map((p) => card(p));
    waiting.forEach((w) => w.remove());
    grid.append(...added);
    if (after && added.length) added[0].querySelector("a").focus();
    if (!grid.children.length) {
      state.append(panel("Nothing here yet", "There are no products in this category.", el("a", { class: "button", href: "/" }, "Show all")));
    }
    after = got.next;
    more.hidden = !after;
  } catch (error) {
    waiting.forEach((w) => w.remove());
    const title = error.status === 503 ? "Not ready yet" : "This did not load";
    state.append(panel(title, error.message, button("Try again", page)));
  }
  grid.setAttribute("aria-busy", "false");
}

async function filters() {
  const chip = (name, text) => el("a", {
    class: "chip",
    href: name ? `/?${new URLSearchParams({ category: name })}` : "/",
    "aria-current": name === category ? "page" : null,
  }, text);
  try {
    const got = await answer("/v1/categories");
    chips.replaceChildren(chip(null, "All"), ...got.categories.map((c) => chip(c.category, c.title)));
    const chosen = chips.querySelector("[aria-current]");
    if (chosen) chips.scrollLeft = chosen.offsetLeft - chips.clientWidth / 2 + chosen.clientWidth / 2;
    const current = got.categories.find((c) => c.category === category);
    if (current) document.title = `${current.title} · MEDAL`;
  } catch { /* the grid says what is wrong */ }
}

more.addEventListener("click", page);
filters();
page();
