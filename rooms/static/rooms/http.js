// What requests of the live endpoints have in common: who is asking, and what a refusal means.

/** @typedef {import("./websocket.js").End} End */

const STATUS = new Map([
  [401, 4501],
  [403, 4503],
]);

/**
 * The CSRF token: of the cookie, else of the page, where the cookie is out of reach (CSRF_USE_SESSIONS,
 * CSRF_COOKIE_HTTPONLY). It changes with the log-in, so it also tells whose requests these would be.
 */
export function csrfToken() {
  const cookie = /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie);
  if (cookie) return decodeURIComponent(cookie[1]);
  const meta = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="csrf-token"]'));
  const input = /** @type {HTMLInputElement | null} */ (document.querySelector('input[name="csrfmiddlewaretoken"]'));
  const element = /** @type {HTMLElement | null} */ (document.querySelector("[data-csrf-token]"));
  return meta?.content ?? element?.dataset.csrfToken ?? input?.value ?? "";
}

/** The error object of a refused request, if it is the site that refused it and nobody in between. */
export async function refusal(/** @type {Response} */ response) {
  const body = await response.json().catch(() => null);
  return typeof body?.code === "string" ? body : null;
}

/**
 * What a refused request means for the connection, as a close code.
 *
 * @param {Response} response
 * @returns {Promise<End>}
 */
export async function endOf(response) {
  const error = await refusal(response);
  if (!error) return { code: 1006, reason: `HTTP ${response.status}` };
  return { code: STATUS.get(response.status) ?? 1006, reason: error.detail, retryAfter: error.retry_after_ms };
}
