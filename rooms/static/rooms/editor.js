// A message of one's own, being changed in its place. Enter saves, Escape leaves it as it was.

import { sends } from "./composer.js";
import { part } from "./message.js";

/**
 * @param {HTMLElement} item
 * @param {(text: string) => Promise<void>} save rejects with an Error whose message is a sentence
 * @param {() => void} closed
 */
export function edit(item, save, closed) {
  const open = /** @type {HTMLTextAreaElement | null} */ (item.querySelector(".editor textarea"));
  if (open) return open.focus();
  const text = part(item, "text");
  const { form, field, saves, failure, cancel } = build();
  field.value = text.textContent ?? "";
  text.hidden = true;
  text.after(form);
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);

  function close() {
    form.remove();
    text.hidden = item.classList.contains("deleted");
    closed();
  }

  async function submit() {
    if (saves.disabled) return;
    if (!field.value.trim() || field.value === text.textContent) return close();
    saves.disabled = true;
    failure.textContent = "";
    try {
      await save(field.value);
      close();
    } catch (error) {
      saves.disabled = false;
      failure.textContent = `Not saved. ${error instanceof Error ? error.message : error}`;
      field.focus();
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  cancel.addEventListener("click", close);
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") close();
    if (!sends(event)) return;
    event.preventDefault();
    submit();
  });
}

function build() {
  const form = document.createElement("form");
  form.className = "editor";
  const field = document.createElement("textarea");
  field.setAttribute("aria-label", "Edit message");
  field.maxLength = 8000;
  field.rows = 1;
  const failure = document.createElement("p");
  failure.className = "editor-failure";
  failure.setAttribute("role", "alert");
  const saves = button("Save", "submit");
  const cancel = button("Cancel", "button");
  cancel.className = "quiet";
  const row = document.createElement("p");
  row.className = "editor-actions";
  row.append(saves, cancel);
  form.append(field, failure, row);
  return { form, field, saves, failure, cancel };
}

/** @param {string} name @param {"submit" | "button"} type */
function button(name, type) {
  const made = document.createElement("button");
  made.type = type;
  made.textContent = name;
  return made;
}
