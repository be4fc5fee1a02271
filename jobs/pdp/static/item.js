// The product page: one public answer, shown as the product, the look on a board, and a row of cards for each slot.
import { answer, button, card, el, panel, photo, price } from "./common.js";

const id = decodeURIComponent(location.pathname.slice("/items/".length));
const LIMIT = 24;
const PIECES = 8; // the board has two rows of four
const [state, hero, look, board, section, slots, footer] =
  ["state", "product", "look", "board", "complements", "slots", "provenance"].map((name) => document.getElementById(name));
const number = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "auto" });

/** How well an item matches, in words for hover, focus and screen readers. */
function words(item) {
  if (item.score === null) return el("span", { class: "sr" }, "chosen by hand");
  const text = `Match ${number.format(item.score)}: style ${number.format(item.visual)}, colour ${number.format(item.colour)}`;
  return el("span", { class: "words" }, text);
}

/** The two parts of a score as one thin bar, as long as the score is beside the slot's best. */
function why(item, best) {
  if (item.score === null) return el("span", { class: "why" }, words(item));
  const parts = [Math.max(item.visual, 0), Math.max(item.colour, 0)];
  const whole = parts[0] + parts[1] || 1;
  const length = best > 0 ? Math.min(Math.max(item.score / best, 0.04), 1) : 0;
  const bars = ["style", "colour"].map((name, n) => {
    const bar = el("span", { class: `part ${name}` });
    bar.style.width = `${(100 * length * parts[n]) / whole}%`;
    return bar;
  });
  return el("span", { class: "why" },
    el("span", { class: "track", "aria-hidden": "true" }, ...bars),
    words(item));
}

/** The look: the product itself and a piece of each slot, laid out on one board. Nothing where there is but one slot. */
function lay(product, pieces) {
  look.hidden = new Set(pieces.map((p) => p.category)).size < 2;
  if (look.hidden) return;
  const own = el("li", { class: "piece own" }, photo(product), el("span", { class: "label" }, "This piece"));
  board.style.setProperty("--rows", pieces.length > PIECES / 2 ? 2 : 1);
  board.replaceChildren(own, ...pieces.map((p) => {
    const item = card(p, words(p));
    item.classList.add("piece");
    item.querySelector(".text").prepend(el("span", { class: "label" }, p.category_title));
    return item;
  }));
}

/** One slot: heading, a row that scrolls sideways, and arrows where there is a mouse. */
function row(slot, index) {
  const best = Math.max(...slot.items.map((i) => i.score ?? 0));
  const list = el("ul", { class: "row", "aria-labelledby": `slot-${index}` }, ...slot.items.map((i) => card(i, why(i, best))));
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const arrow = (direction, name, sign) => {
    const node = el("button", { type: "button", class: "arrow", "aria-label": `${name} in ${slot.title}` }, sign);
    node.addEventListener("click", () => list.scrollBy({ left: direction * list.clientWidth * 0.85, behavior: calm ? "auto" : "smooth" }));
    return node;
  };
  const [back, forth] = [arrow(-1, "Back", "←"), arrow(1, "Further", "→")];
  const ends = () => {
    back.disabled = list.scrollLeft < 4;
    forth.disabled = list.scrollLeft + list.clientWidth > list.scrollWidth - 4;
    list.parentElement?.classList.toggle("still", back.disabled && forth.disabled);
  };
  list.addEventListener("scroll", ends, { passive: true });
  new ResizeObserver(ends).observe(list);
  return el("section", { class: "slot", "data-category": slot.category, "aria-labelledby": `slot-${index}` },
    el("div", { class: "slothead" },
      el("h3", { id: `slot-${index}` }, slot.title), el("span", { class: "count", "aria-hidden": "true" }, String(slot.items.length)),
      el("span", { class: "arrows" }, back, forth)),
    list);
}

const STOCK = { in_stock: "In stock", preorder: "Pre-order", backorder: "On back-order", out_of_stock: "Sold out" };

function show(got) {
  const p = got.product;
  lay(p, got.complete_the_look);
  document.querySelector(".skip").hash = look.hidden ? "#complements" : "#look";
  document.title = `${p.title} · MEDAL`;
  hero.replaceChildren(photo(p, { large: true }),
    el("div", { class: "facts" },
      el("p", { class: "eyebrow" }, [p.category_title, p.department].join(" · ")),
      el("h1", {}, p.title),
      p.brand ? el("p", { class: "brand" }, p.brand) : null,
      price(p) ? el("p", { class: "price" }, price(p)) : null,
      el("p", { class: p.in_stock ? "stock" : "stock out" }, STOCK[p.availability] ?? p.availability),
      got.slots.length ? el("p", { class: "go" }, el("a", { href: look.hidden ? "#complements" : "#look" }, "See what looks right beside it"),
        el("span", { "aria-hidden": "true" }, " ↓")) : null));
  hero.setAttribute("aria-busy", "false");
  slots.replaceChildren(...got.slots.map(row));
  section.hidden = false;
  if (!got.slots.length) {
    document.getElementById("legend").hidden = true;
    slots.append(panel("Nothing to show beside it", "This product has no complements that can be bought today.",
      el("a", { class: "button", href: "/" }, "Browse all products")));
  }
  const date = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeZone: "UTC" }).format(new Date(`${got.run_date}T00:00:00Z`));
  footer.replaceChildren(`Lists of ${date} · release ${got.release} · model ${got.model_version}`);
}

async function load() {
  state.replaceChildren();
  hero.hidden = false;
  try {
    show(await answer(`/v1/items/${encodeURIComponent(id)}/complements?limit=${LIMIT}&look=${PIECES}`));
  } catch (error) {
    hero.hidden = true;
    section.hidden = look.hidden = true;
    const browse = el("a", { class: "button", href: "/" }, "Browse all products");
    if (error.status === 404) {
      document.title = "Not found · MEDAL";
      state.append(panel("This product is not in the catalogue", "It may have left the shop.", browse));
    } else {
      state.append(panel(error.status === 503 ? "Not ready yet" : "This did not load", error.message, button("Try again", load), browse));
    }
  }
}

load();
