// Shared by both pages. Everything shown comes from the public answer and enters the page as text, never as HTML.

/** An element with attributes and children; strings become text nodes. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

/** GET a public answer. Throws an Error whose `status` and `message` come from the problem document. */
export async function answer(path) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw Object.assign(new Error("The server cannot be reached."), { status: 0 });
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(body.detail || response.statusText), { status: response.status });
  return body;
}

/** A price for people; null where there is none. */
export function price(product) {
  if (product.price === null) return null;
  if (product.currency) {
    try {
      return new Intl.NumberFormat(undefined, { style: "currency", currency: product.currency }).format(product.price);
    } catch { /* not an ISO code: shown as it is */ }
  }
  const number = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(product.price);
  return product.currency ? `${number} ${product.currency}` : number;
}

/** Only addresses of this site and of the web: a catalogue must not bring `javascript:` into the page. */
export function safe(url) {
  try {
    const parsed = new URL(url, location.origin);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

/** The photo in its frame; a quiet placeholder where there is none or it does not load. */
export function photo(product, { large = false } = {}) {
  const frame = el("div", { class: large ? "photo large" : "photo" });
  const without = () => {
    frame.classList.remove("skeleton");
    frame.replaceChildren(el("span", { class: "nophoto", role: "img", "aria-label": `No photo of ${product.title}` }, "no photo"));
  };
  const src = product.image_url && safe(product.image_url);
  if (!src) {
    without();
    return frame;
  }
  const image = el("img", { alt: product.title, loading: large ? "eager" : "lazy", decoding: "async" });
  frame.classList.add("skeleton");
  image.addEventListener("load", () => {
    const upright = image.naturalHeight / image.naturalWidth;
    image.classList.toggle("full", upright >= 1.15 && upright <= 1.7); // near 4:5, so that little is cut off
    frame.classList.remove("skeleton");
  });
  image.addEventListener("error", without);
  image.src = src;
  frame.append(image);
  return frame;
}

/** A product as a card that leads to its page; `extra` goes inside the link. */
export function card(product, ...extra) {
  return el("li", { class: "card" },
    el("a", { href: safe(product.product_url) },
      photo(product),
      product.reason === "explore" ? el("span", { class: "new" }, "New in") : null,
      el("span", { class: "text" },
        product.brand ? el("span", { class: "brand" }, product.brand) : null,
        el("span", { class: "title" }, product.title),
        price(product) ? el("span", { class: "price" }, price(product)) : null,
        product.in_stock === false ? el("span", { class: "sold" }, "Sold out") : null),
      ...extra));
}

/** Placeholders while an answer is on its way. */
export function skeletons(n) {
  return Array.from({ length: n }, () => el("li", { class: "card", "aria-hidden": "true" },
    el("div", { class: "photo skeleton" }), el("span", { class: "line skeleton short" }), el("span", { class: "line skeleton" })));
}

/** A message in place of content, with a way on. */
export function panel(title, detail, ...actions) {
  return el("div", { class: "panel" }, el("h2", {}, title), el("p", {}, detail), el("p", { class: "actions" }, ...actions));
}

/** A button that runs something. */
export function button(text, run) {
  const node = el("button", { type: "button", class: "button" }, text);
  node.addEventListener("click", run);
  return node;
}
