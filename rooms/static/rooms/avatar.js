// A picture of a person, where there is none: the initials on a colour that their id gives.

const HUES = 8; // of controls.css

/** @param {HTMLElement} avatar with the class `rooms-avatar` @param {string} id @param {string} name */
export function paint(avatar, id, name) {
  const words = name.trim().split(/\s+/u);
  avatar.textContent = words.slice(0, 2).map((word) => [...word][0] ?? "").join("").toUpperCase();
  avatar.dataset.hue = String([...id].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % HUES);
}
