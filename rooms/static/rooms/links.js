// Addresses in a text become links. Everything stays text: nothing is ever read as HTML.

const ADDRESS = /\bhttps?:\/\/[^\s<>"\p{Cc}\u202a-\u202e\u2066-\u2069]+/giu;
const AFTER = /[.,;:!?'’”»*_]+$/u; // belongs to the sentence, not to the address

/** @param {HTMLElement} element @param {string} text */
export function showText(element, text) {
  element.textContent = text;
  if (!text.includes("://")) return;
  /** @type {(string | Node)[]} */
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const link = linkTo(address);
    if (!link) continue;
    parts.push(text.slice(end, match.index), link);
    end = match.index + address.length;
  }
  if (parts.length) element.replaceChildren(...parts, text.slice(end));
}

/** @param {string} address */
function trimmed(address) {
  for (;;) {
    const shorter = address.replace(AFTER, "");
    // "(see https://example.com/a_(b))": the last bracket closes one outside
    const open = shorter.endsWith(")") && shorter.split(")").length > shorter.split("(").length;
    const next = open ? shorter.slice(0, -1) : shorter;
    if (next === address) return address;
    address = next;
  }
}

/** @param {string} address @returns {HTMLAnchorElement | null} */
function linkTo(address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !["http:", "https:"].includes(url.protocol) || !url.hostname) return null;
  const link = document.createElement("a");
  link.href = url.href;
  link.rel = "noopener noreferrer nofollow";
  link.target = "_blank";
  link.textContent = address;
  return link;
}
